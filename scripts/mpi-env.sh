# Sourced: lets Open MPI start on one machine as it is. More ranks than cores are wanted here (the coordinator mostly
# sleeps), and Open MPI refuses both that and root unless told. Names for Open MPI 4 and 5.
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export OMPI_MCA_btl_vader_single_copy_mechanism=none # quiet in containers without CAP_SYS_PTRACE
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

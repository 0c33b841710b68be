#!/bin/sh
# Open MPI's launch agent (--mca plm_rsh_agent) for hosts that are network namespaces: netns_agent.sh HOST COMMAND...
# Each has its network and its host name for itself.
host=$1
shift
exec ip netns exec "$SQUANT_NETNS_PREFIX$host" unshare --uts sh -c "hostname $host && $*"

// An nvJPEG made of libjpeg, and a CUDA runtime made of the host (host_cudart.cc), as libraries of
// the same names: what the program does with them can be tested without a GPU. Pixels are libjpeg's
// own, and are not there before their stream is waited for.
#pragma once

extern "C" {

// How it answers from now on. `status`: of every nvjpegDecode; 0: it decodes, though no CMYK.
void host_nvjpeg_behave(int major, int num_gpus, int status);
int host_nvjpeg_states_made(void);  // since the process began
int host_nvjpeg_objects(void);      // handles and states that are there now
int host_cudart_objects(void);      // streams and pieces of memory that are there now

}  // extern "C"

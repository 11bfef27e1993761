// cuRAND's host interface: its generators keep states of unpublished size on the card. PyTorch has random numbers of
// its own.
#include "emulator/listed.h"

#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, 999)  // CURAND_STATUS_INTERNAL_ERROR
#include "emulator/other/curand_rest.def"
#undef VRAMWISE_LISTED

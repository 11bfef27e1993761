// Elements that a bool mask chooses: how many there are is known on the card only, so each op counts and lists them
// anew. Here a mask chooses all elements, as that of labels without ignored ones does.
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

/// x[mask], where the mask has the first dimensions of x: (chosen, …).
Tensor masked_rows(Tensor x, Tensor mask);
/// zeros.masked_scatter(mask, source): the elements of `source` where the mask chooses.
Tensor masked_scatter(Tensor zeros, Tensor mask, Tensor source);

}  // namespace vramwise::tape

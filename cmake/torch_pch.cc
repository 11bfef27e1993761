// Carries the precompiled <torch/torch.h> that all targets with torch code share (cmake/torch.cmake).

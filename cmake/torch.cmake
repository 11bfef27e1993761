# libtorch out of the user's torch wheel, as the imported target `torch`.
#
# find_package(Torch) is not used: it demands a CUDA toolkit, which neither the wheel nor vramwise needs. Which torch: -DTORCH_ROOT=… (the `torch`
# folder of site-packages); else what tools/bootstrap wrote into build/environment; else that of the active environment or of .venv.
set(TORCH_ROOT "" CACHE PATH "The torch folder inside site-packages; empty: that of the project's environment")
set(torch_root ${TORCH_ROOT})
set(environment_file ${CMAKE_SOURCE_DIR}/build/environment)
if(NOT torch_root AND EXISTS ${environment_file})
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${environment_file})
  file(STRINGS ${environment_file} line REGEX "^torch_root=")
  string(REGEX REPLACE "^torch_root=" "" torch_root "${line}")
endif()
foreach(python IN ITEMS $ENV{VIRTUAL_ENV}/bin/python $ENV{CONDA_PREFIX}/bin/python ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  if(EXISTS ${python} AND NOT EXISTS "${torch_root}/lib/libtorch.so" AND NOT TORCH_ROOT)
    execute_process(
      COMMAND ${python} -I -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
      OUTPUT_VARIABLE torch_root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endforeach()
if(NOT EXISTS "${torch_root}/lib/libtorch.so")
  message(FATAL_ERROR "No torch was found (looked in '${torch_root}'). Run tools/bootstrap, or configure with -DVRAMWISE_TORCH=OFF.")
endif()
message(STATUS "torch: ${torch_root}")

add_library(torch INTERFACE)
target_include_directories(torch SYSTEM INTERFACE ${torch_root}/include ${torch_root}/include/torch/csrc/api/include)
target_link_directories(torch INTERFACE ${torch_root}/lib)
target_link_options(torch INTERFACE -Wl,--allow-shlib-undefined -Wl,-rpath,${torch_root}/lib)
target_link_libraries(torch INTERFACE -Wl,--no-as-needed torch torch_cpu c10)
if(EXISTS ${torch_root}/lib/libtorch_cuda.so)
  target_link_libraries(torch INTERFACE torch_cuda c10_cuda)
endif()
target_link_libraries(torch INTERFACE -Wl,--as-needed)

# <torch/torch.h> costs some 15 s a translation unit. It is compiled once, here; every target with torch code uses it.
add_library(torch_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cc)
target_link_libraries(torch_pch PUBLIC torch)
target_precompile_headers(torch_pch PRIVATE <torch/torch.h>)
vramwise_warnings(torch_pch)

function(vramwise_torch_headers target)
  target_compile_options(${target} PRIVATE -fPIC)  # programs too (not -fPIE): the precompiled header must match
  target_precompile_headers(${target} REUSE_FROM torch_pch)
endfunction()

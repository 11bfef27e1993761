# libtorch out of the user's torch wheel, as the imported target `torch`.
#
# find_package(Torch) is not used: it demands a CUDA toolkit, which neither the wheel nor vramwise needs. TORCH_ROOT is the `torch` folder of
# site-packages; when it isn't given, the python of the project's environment is asked.
set(TORCH_ROOT "" CACHE PATH "The torch folder inside site-packages")
if(NOT TORCH_ROOT)
  set(python_candidates $ENV{VIRTUAL_ENV}/bin/python ${CMAKE_SOURCE_DIR}/.venv/bin/python)
  foreach(python IN LISTS python_candidates)
    if(EXISTS ${python} AND NOT TORCH_ROOT)
      execute_process(
        COMMAND ${python} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
        OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      if(found)
        set(TORCH_ROOT ${found} CACHE PATH "The torch folder inside site-packages" FORCE)
      endif()
    endif()
  endforeach()
endif()
if(NOT EXISTS ${TORCH_ROOT}/lib/libtorch.so)
  message(FATAL_ERROR "No torch was found (TORCH_ROOT='${TORCH_ROOT}'). Run tools/bootstrap, or configure with -DVRAMWISE_TORCH=OFF.")
endif()

add_library(torch INTERFACE)
target_include_directories(torch SYSTEM INTERFACE ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
target_link_directories(torch INTERFACE ${TORCH_ROOT}/lib)
target_link_options(torch INTERFACE -Wl,--allow-shlib-undefined -Wl,-rpath,${TORCH_ROOT}/lib)
target_link_libraries(torch INTERFACE -Wl,--no-as-needed torch torch_cpu c10)
if(EXISTS ${TORCH_ROOT}/lib/libtorch_cuda.so)
  target_link_libraries(torch INTERFACE torch_cuda c10_cuda)
endif()
target_link_libraries(torch INTERFACE -Wl,--as-needed)

# <torch/torch.h> costs some 15 s a translation unit. It is compiled once, here; every target with torch code uses it.
add_library(torch_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cc)
target_link_libraries(torch_pch PUBLIC torch)
target_precompile_headers(torch_pch PRIVATE <torch/torch.h>)
vramwise_warnings(torch_pch)

function(vramwise_torch_headers target)
  target_precompile_headers(${target} REUSE_FROM torch_pch)
endfunction()

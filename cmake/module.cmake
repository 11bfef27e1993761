# vramwise_module(NAME [SOURCES …] [TESTS …] [DEPENDS modules…] [LIBRARIES targets…] [TORCH] [TEST_LIBRARIES targets…])
#
# One folder of src/ as one static library, `vramwise_NAME`. Its headers are found as "NAME/header.h", and only by targets that name it in
# DEPENDS: each module exports a folder that holds nothing but a link to its own sources, so an include against the layers does not compile.
# TESTS become one GoogleTest program, NAME_test, whose cases are registered one by one with ctest (label: NAME).
# TORCH: the module includes <torch/…>; it then gets libtorch, the shared precompiled header, and no fmt (torch carries another one).
function(vramwise_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic)
  if(VRAMWISE_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

function(vramwise_module name)
  cmake_parse_arguments(M "TORCH" "" "SOURCES;TESTS;DEPENDS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  set(exported ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${exported})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${exported}/${name} SYMBOLIC)

  set(libraries ${M_LIBRARIES})
  foreach(module IN LISTS M_DEPENDS)
    list(APPEND libraries vramwise_${module})
  endforeach()
  if(M_TORCH)
    list(APPEND libraries torch)
  endif()

  set(target vramwise_${name})
  if(M_SOURCES)
    add_library(${target} STATIC ${M_SOURCES})
    set(scope PUBLIC)
    vramwise_warnings(${target})
    # Position-independent functions are not inlined where another library might replace them. None does.
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-fno-semantic-interposition>)
    if(M_TORCH)
      vramwise_torch_headers(${target})
    endif()
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} ${exported})
  target_link_libraries(${target} ${scope} ${libraries})

  if(VRAMWISE_TESTS AND M_TESTS)
    add_executable(${name}_test ${M_TESTS})
    vramwise_warnings(${name}_test)
    target_link_libraries(${name}_test PRIVATE ${target} GTest::gmock GTest::gtest_main ${M_TEST_LIBRARIES})
    if(M_TORCH)
      vramwise_torch_headers(${name}_test)
    endif()
    gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ${name} TIMEOUT 900)
  endif()
endfunction()

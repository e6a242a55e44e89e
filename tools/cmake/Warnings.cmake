# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Target sgbpf_flags: include paths, warnings and sanitizers for every target of ours.
add_library(sgbpf_flags INTERFACE)
target_include_directories(sgbpf_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/userspace
                                                 ${PROJECT_SOURCE_DIR})
target_compile_options(sgbpf_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(SGBPF_WERROR)
    target_compile_options(sgbpf_flags INTERFACE -Werror)
endif()
if(SGBPF_SANITIZE)
    target_compile_options(sgbpf_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(sgbpf_flags INTERFACE -fsanitize=address,undefined)
endif()

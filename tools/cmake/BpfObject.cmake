# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# sgbpf_add_bpf_object(NAME SOURCE): compiles SOURCE for the BPF target and makes an INTERFACE target
# NAME_skel whose users include "NAME.skel.h". Touching a header that SOURCE includes rebuilds object,
# skeleton and users (depfile); a second build does nothing.
find_program(SGBPF_BPF_CLANG NAMES clang-19 clang REQUIRED)
find_program(SGBPF_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

function(sgbpf_add_bpf_object name source)
    set(source_path ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
    set(skeleton_dir ${CMAKE_CURRENT_BINARY_DIR}/skel)
    set(skeleton ${skeleton_dir}/${name}.skel.h)
    file(MAKE_DIRECTORY ${skeleton_dir})
    add_custom_command(
        OUTPUT ${object}
        COMMAND ${SGBPF_BPF_CLANG} -std=gnu23 -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror
                -I ${PROJECT_SOURCE_DIR}/include -I ${PROJECT_SOURCE_DIR}
                -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
                -MD -MF ${object}.d -MT ${object} -c ${source_path} -o ${object}
        DEPENDS ${source_path}
        DEPFILE ${object}.d
        COMMENT "BPF ${source}"
        VERBATIM)
    add_custom_command(
        OUTPUT ${skeleton}
        COMMAND ${SGBPF_BPFTOOL} gen skeleton ${object} name ${name} > ${skeleton}.tmp
        COMMAND ${CMAKE_COMMAND} -E rename ${skeleton}.tmp ${skeleton}
        DEPENDS ${object}
        COMMENT "Skeleton ${name}"
        VERBATIM)
    add_custom_target(${name}_skel_file DEPENDS ${skeleton})
    add_library(${name}_skel INTERFACE)
    add_dependencies(${name}_skel ${name}_skel_file)
    target_include_directories(${name}_skel SYSTEM INTERFACE ${skeleton_dir})
endfunction()

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/kernel_fixture.hpp"

int main(int argc, char** argv) {
    return sgbpf::test::kernel_test_main(argc, argv);
}

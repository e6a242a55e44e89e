// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Prints to_yaml() of each state file named, as a document of its own: for schema_test.py, which reads them with
// other YAML readers.
#include "model/parse.hpp"
#include "model/yaml_out.hpp"

#include <iostream>

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const auto parsed = sgbpf::parse_state_file(argv[i]);
        if (!parsed || !parsed->ok()) {
            std::cerr << argv[i] << ": " << (parsed ? parsed->errors[0].to_string() : parsed.error().message) << '\n';
            return 2;
        }
        std::cout << "---\n" << sgbpf::to_yaml(parsed->state);
    }
    return 0;
}

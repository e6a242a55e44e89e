// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Telling the ends of TCP flows that they are over. In the calling thread's network namespace, which is the device's.
#pragma once

#include "datapath/datapath.hpp"

namespace sgbpf {

// Role workload: a frame out of the device for the guest, a packet on the host's routes for the remote end.
ResetsSent send_reset_frames(const ResetOrder& order);

// Role host: closes the sockets, never a listener (SOCK_DESTROY; needs CONFIG_INET_DIAG_DESTROY).
ResetsSent destroy_sockets(const ResetOrder& order);

}  // namespace sgbpf

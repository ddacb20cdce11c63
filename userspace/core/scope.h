// SPDX-License-Identifier: GPL-2.0-only
// Whose packets are this node's business, by their addresses. The cluster's, in the namespaces of
// the node; in the Docker host's, which all nodes share, only those of the node itself and its
// pods.
#pragma once

#include <vector>

#include "core/address.h"

namespace droptrace {

struct WatchedPrefix {
  Cidr cidr;
  bool cluster = false;  // addresses of services or pods
  bool own = false;      // addresses of this node or its pods

  bool operator==(const WatchedPrefix&) const = default;
};

// For look-ups by longest prefix: what a longer prefix says holds instead of what a shorter one
// around it says, so each says all there is to say. Sorted, without duplicates.
std::vector<WatchedPrefix> watched_prefixes(const std::vector<Cidr>& cluster,
                                            const std::vector<Cidr>& own);

// The network of a single address.
Cidr host_cidr(const Address& address);

}  // namespace droptrace

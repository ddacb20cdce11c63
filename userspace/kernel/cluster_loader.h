// SPDX-License-Identifier: GPL-2.0-only
// Finds the cluster's service and pod CIDRs on the node.
#pragma once

#include "core/world.h"

namespace droptrace {

struct ClusterNetworks {
  CidrList service;
  CidrList pod;
};

// Looks, in this order, at /kind/kubeadm.conf, the static pod manifests, kube-proxy's configuration
// and kindnetd's environment; what none of them has is kubeadm's and Kind's default. Each list says
// where it was found.
ClusterNetworks find_cluster_networks();

}  // namespace droptrace

// SPDX-License-Identifier: GPL-2.0-only
// Service and pod CIDRs, read from the text of the files that a Kind node has them in.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "core/address.h"

namespace droptrace {

struct ClusterCidrs {
  std::vector<Cidr> service;  // empty: not found
  std::vector<Cidr> pod;
};

// "podSubnet: …" and "serviceSubnet: …" of /kind/kubeadm.conf (a stream of YAML documents).
ClusterCidrs cidrs_from_kubeadm_conf(std::string_view text);

// "--service-cluster-ip-range=…" and "--cluster-cidr=…" of a static pod manifest.
ClusterCidrs cidrs_from_manifest(std::string_view text);

// "clusterCIDR: …" of kube-proxy's config.conf: the pod CIDR.
ClusterCidrs cidrs_from_kube_proxy_conf(std::string_view text);

// POD_SUBNET=… in kindnetd's environment (NUL-separated, as /proc/PID/environ has it).
ClusterCidrs cidrs_from_kindnetd_environ(std::string_view text);

// The node's own pod CIDRs: "subnet" in the host-local part of a CNI configuration list (the CNI
// specification's conflist; kindnet's is /etc/cni/net.d/10-kindnet.conflist). conflist.cpp.
std::vector<Cidr> pod_cidrs_from_conflist(std::string_view text);

}  // namespace droptrace

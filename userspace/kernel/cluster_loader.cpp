// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/cluster_loader.h"

#include <string>

#include "core/cluster.h"
#include "kernel/files.h"

namespace droptrace {

namespace {

constexpr const char* kDefaultServiceCidr = "10.96.0.0/12";
constexpr const char* kDefaultPodCidr = "10.244.0.0/16";

using Parser = ClusterCidrs (*)(std::string_view);

// Fills what is still missing from one file.
void fill(ClusterNetworks& networks, const std::string& path, const std::string& source,
          Parser parse) {
  if (!networks.service.cidrs.empty() && !networks.pod.cidrs.empty()) return;
  const auto text = read_file(path);
  if (!text) return;
  ClusterCidrs found = parse(*text);
  if (networks.service.cidrs.empty() && !found.service.empty())
    networks.service = {std::move(found.service), source};
  if (networks.pod.cidrs.empty() && !found.pod.empty())
    networks.pod = {std::move(found.pod), source};
}

}  // namespace

ClusterNetworks find_cluster_networks() {
  ClusterNetworks networks;
  fill(networks, "/kind/kubeadm.conf", "/kind/kubeadm.conf", cidrs_from_kubeadm_conf);
  for (const char* manifest : {"kube-apiserver.yaml", "kube-controller-manager.yaml"})
    fill(networks, std::string("/etc/kubernetes/manifests/") + manifest, manifest,
         cidrs_from_manifest);
  for (const std::string& pid : list_processes()) {
    if (!networks.service.cidrs.empty() && !networks.pod.cidrs.empty()) break;
    const std::string process = "/proc/" + pid;
    const auto comm = read_file(process + "/comm");
    if (comm == "kube-proxy\n")
      fill(networks, process + "/root/var/lib/kube-proxy/config.conf", "kube-proxy's config.conf",
           cidrs_from_kube_proxy_conf);
    else if (comm == "kindnetd\n")
      fill(networks, process + "/environ", "kindnetd's environment", cidrs_from_kindnetd_environ);
  }
  if (networks.service.cidrs.empty())
    networks.service = {{*parse_cidr(kDefaultServiceCidr)}, "default"};
  if (networks.pod.cidrs.empty()) networks.pod = {{*parse_cidr(kDefaultPodCidr)}, "default"};
  return networks;
}

}  // namespace droptrace

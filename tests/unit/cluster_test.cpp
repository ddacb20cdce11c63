// SPDX-License-Identifier: GPL-2.0-only
#include "core/cluster.h"

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace droptrace {
namespace {

using namespace std::string_literals;

std::string data_file(const std::string& name) {
  std::ifstream file(DROPTRACE_TEST_DATA "/cluster/" + name);
  REQUIRE(file.is_open());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Cidr> cidrs(std::string_view list) { return parse_cidr_list(list).value(); }

std::string with_crlf(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\n' ? "\r\n" : std::string(1, c);
  return result;
}

TEST_CASE("kubeadm.conf has both CIDRs") {
  const std::string text = data_file("kubeadm.conf");
  for (const std::string& variant : {text, with_crlf(text)}) {
    const ClusterCidrs found = cidrs_from_kubeadm_conf(variant);
    CHECK(found.service == cidrs("10.96.0.0/12"));
    CHECK(found.pod == cidrs("10.244.0.0/16"));
  }
}

TEST_CASE("the API server's manifest has the service CIDR") {
  const std::string text = data_file("kube-apiserver.yaml");
  for (const std::string& variant : {text, with_crlf(text)}) {
    const ClusterCidrs found = cidrs_from_manifest(variant);
    CHECK(found.service == cidrs("10.96.0.0/12"));
    CHECK(found.pod.empty());
  }
}

TEST_CASE("the controller manager's manifest has both, of each address family") {
  const ClusterCidrs found = cidrs_from_manifest(data_file("kube-controller-manager.yaml"));
  CHECK(found.service == cidrs("10.96.0.0/16,fd00:10:96::/112"));
  CHECK(found.pod == cidrs("10.244.0.0/16,fd00:10:244::/56"));
}

TEST_CASE("kube-proxy's config has the pod CIDR") {
  const ClusterCidrs found = cidrs_from_kube_proxy_conf(data_file("kube-proxy-config.conf"));
  CHECK(found.pod == cidrs("10.244.0.0/16"));
  CHECK(found.service.empty());
}

TEST_CASE("a value may be written in any of YAML's ways") {
  for (const std::string_view line : {
           "podSubnet: 10.244.0.0/16,fd00:10:244::/56",
           "  podSubnet:   \"10.244.0.0/16,fd00:10:244::/56\"  ",
           "\tpodSubnet: '10.244.0.0/16, fd00:10:244::/56' # dual-stack",
           "  \"podSubnet\" : 10.244.0.0/16,fd00:10:244::/56\t# dual-stack\r",
       }) {
    CAPTURE(line);
    const ClusterCidrs found =
        cidrs_from_kubeadm_conf("networking:\n" + std::string(line) + "\nother: 1\n");
    CHECK(found.pod == cidrs("10.244.0.0/16,fd00:10:244::/56"));
    CHECK(found.service.empty());
  }
}

TEST_CASE("only the key itself counts") {
  for (const std::string_view line : {
           "# podSubnet: 10.244.0.0/16",
           "  description: podSubnet: 10.244.0.0/16",
           "  podSubnets: 10.244.0.0/16",
           "  xpodSubnet: 10.244.0.0/16",
           "  podSubnet 10.244.0.0/16",
       }) {
    CAPTURE(line);
    CHECK(cidrs_from_kubeadm_conf(line).pod.empty());
  }
}

TEST_CASE("a malformed value is not found") {
  for (const std::string_view value :
       {"", "null", "\"\"", "\"", "10.244.0.0", "10.244.0.0/33", "10.244.0.0/16,", "pods",
        "10.244.0.0/16 10.245.0.0/16", "\"10.244.0.0/16", "[10.244.0.0/16]"}) {
    CAPTURE(value);
    const std::string text(value);
    CHECK(cidrs_from_kubeadm_conf("podSubnet: " + text).pod.empty());
    CHECK(cidrs_from_kube_proxy_conf("clusterCIDR: " + text + "\nmode: iptables\n").pod.empty());
    CHECK(cidrs_from_manifest("- --cluster-cidr=" + text).pod.empty());
    CHECK(cidrs_from_kindnetd_environ("POD_SUBNET=" + text).pod.empty());
  }
}

TEST_CASE("a flag may have its value in any of a command line's ways") {
  for (const std::string_view lines : {
           "    - --cluster-cidr=10.244.0.0/16\n",
           "    --cluster-cidr=10.244.0.0/16",
           "    - \"--cluster-cidr=10.244.0.0/16\"\r\n",
           "    - '--cluster-cidr=10.244.0.0/16' # pods\n",
           "    - --cluster-cidr=\"10.244.0.0/16\"\n",
           "    - --cluster-cidr 10.244.0.0/16\n",
           "    - --cluster-cidr\n    - 10.244.0.0/16\n",
           "    - \"--cluster-cidr\"\n    # pods\n\n    - \"10.244.0.0/16\"\r\n",
       }) {
    CAPTURE(lines);
    CHECK(cidrs_from_manifest(lines).pod == cidrs("10.244.0.0/16"));
  }
}

TEST_CASE("only the flag itself counts") {
  for (const std::string_view lines : {
           "- --cluster-cidrs=10.244.0.0/16",
           "- --no-cluster-cidr=10.244.0.0/16",
           "# - --cluster-cidr=10.244.0.0/16",
           "- --cluster-cidr\n- --other=10.244.0.0/16",
           "- --cluster-cidr",
       }) {
    CAPTURE(lines);
    CHECK(cidrs_from_manifest(lines).pod.empty());
  }
}

TEST_CASE("kindnetd's environment has the pod CIDR") {
  const ClusterCidrs found = cidrs_from_kindnetd_environ(
      "PATH=/bin\0POD_SUBNET=10.244.0.0/16,fd00:10:244::/56\0HOST_IP=172.19.0.2\0"s);
  CHECK(found.pod == cidrs("10.244.0.0/16,fd00:10:244::/56"));
  CHECK(found.service.empty());
}

TEST_CASE("only the variable itself counts") {
  CHECK(cidrs_from_kindnetd_environ("OLD_POD_SUBNET=10.244.0.0/16\0POD_SUBNET\0"s).pod.empty());
  CHECK(cidrs_from_kindnetd_environ("ARGS=POD_SUBNET=10.244.0.0/16"s).pod.empty());
}

TEST_CASE("text without any CIDR has none") {
  for (const std::string& text : {""s, "\n\n"s, "\0\0"s, "kind: Pod"s, ":"s, "-"s, "- "s, "="s}) {
    CAPTURE(text);
    for (const auto& found :
         {cidrs_from_kubeadm_conf(text), cidrs_from_manifest(text),
          cidrs_from_kube_proxy_conf(text), cidrs_from_kindnetd_environ(text)}) {
      CHECK(found.service.empty());
      CHECK(found.pod.empty());
    }
  }
}

}  // namespace
}  // namespace droptrace

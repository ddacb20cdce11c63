// SPDX-License-Identifier: GPL-2.0-only
#include "core/cluster.h"

#include <cstddef>

namespace droptrace {
namespace {

constexpr std::string_view kBlanks = " \t\r";

// Cuts the part before the separator off text.
std::string_view take(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back()) return text;
  if (text.front() != '"' && text.front() != '\'') return text;
  return text.substr(1, text.size() - 2);
}

// What a line of YAML says, without comment and list marker. Nothing of interest holds a "#".
std::string_view content(std::string_view line) {
  const std::string_view text = trimmed(line.substr(0, line.find('#')));
  return text.starts_with("- ") ? trimmed(text.substr(2)) : text;
}

std::vector<Cidr> cidrs_in(std::string_view value) {
  return parse_cidr_list(unquoted(trimmed(value))).value_or(std::vector<Cidr>{});
}

// The CIDRs of "key: …" in whichever mapping the key stands.
std::vector<Cidr> cidrs_of_key(std::string_view yaml, std::string_view key) {
  while (!yaml.empty()) {
    std::string_view value = content(take(yaml, '\n'));
    if (unquoted(trimmed(take(value, ':'))) == key) return cidrs_in(value);
  }
  return {};
}

// The CIDRs of "--flag=…" or "--flag …", or of "--flag" in the item after it.
std::vector<Cidr> cidrs_of_flag(std::string_view yaml, std::string_view flag) {
  bool is_next = false;
  while (!yaml.empty()) {
    const std::string_view item = unquoted(content(take(yaml, '\n')));
    if (item.empty()) continue;
    if (is_next) return cidrs_in(item);
    const std::size_t end = item.find_first_of("= \t");
    if (item.substr(0, end) != flag) continue;
    if (end != std::string_view::npos) return cidrs_in(item.substr(end + 1));
    is_next = true;
  }
  return {};
}

}  // namespace

ClusterCidrs cidrs_from_kubeadm_conf(std::string_view text) {
  return {cidrs_of_key(text, "serviceSubnet"), cidrs_of_key(text, "podSubnet")};
}

ClusterCidrs cidrs_from_manifest(std::string_view text) {
  return {cidrs_of_flag(text, "--service-cluster-ip-range"), cidrs_of_flag(text, "--cluster-cidr")};
}

ClusterCidrs cidrs_from_kube_proxy_conf(std::string_view text) {
  return {{}, cidrs_of_key(text, "clusterCIDR")};
}

ClusterCidrs cidrs_from_kindnetd_environ(std::string_view text) {
  while (!text.empty()) {
    std::string_view value = take(text, '\0');
    if (take(value, '=') == "POD_SUBNET") return {{}, cidrs_in(value)};
  }
  return {};
}

}  // namespace droptrace

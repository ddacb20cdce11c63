// SPDX-License-Identifier: GPL-2.0-only
#include "core/pod_files.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

namespace droptrace {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxNameSize = 253;  // RFC 1123; Kubernetes allows no longer name
constexpr std::size_t kMaxAddresses = 64;
constexpr std::size_t kMaxHostPorts = 256;
constexpr std::size_t kMaxContainers = 256;
constexpr int kMaxDepth = 32;

// An empty object if the text is malformed or nested beyond reason.
Json parse(std::string_view text) {
  bool is_deep = false;
  const auto guard = [&is_deep](int depth, Json::parse_event_t, Json&) {
    is_deep |= depth > kMaxDepth;
    return !is_deep;
  };
  Json json = Json::parse(text, guard, /*allow_exceptions=*/false);
  return json.is_object() && !is_deep ? json : Json::object();
}

// A member of an object, whatever json is; null if there is none.
const Json& member(const Json& json, const char* key) {
  static const Json kNull;
  if (!json.is_object()) return kNull;
  const auto found = json.find(key);
  return found == json.end() ? kNull : *found;
}

// The elements of an array; none if json is none.
const Json& elements(const Json& json) {
  static const Json kNone = Json::array();
  return json.is_array() ? json : kNone;
}

std::string text_of(const Json& json) {
  const auto* const text = json.get_ptr<const std::string*>();
  return text ? *text : std::string();
}

// What can stand in "NAMESPACE/POD" without being taken for something else.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameSize && text.find('/') == std::string_view::npos;
}

std::string name_of(const Json& json) {
  std::string text = text_of(json);
  return is_name(text) ? text : std::string();
}

// "cni-1234" of "/var/run/netns/cni-1234"; empty for other paths, such as /proc/PID/ns/net.
std::string mount_name(std::string_view path) {
  for (const std::string_view directory : {"/var/run/netns/", "/run/netns/"}) {
    if (!path.starts_with(directory)) continue;
    const std::string_view name = path.substr(directory.size());
    return is_name(name) ? std::string(name) : std::string();
  }
  return {};
}

// The pairs of CNI_ARGS; where one is repeated the last counts, as with the plugins.
void take_arguments(Pod& pod, const Json& arguments) {
  for (const Json& pair : elements(arguments)) {
    if (!pair.is_array() || pair.size() != 2) continue;
    const std::string key = text_of(pair[0]);
    std::string value = name_of(pair[1]);
    if (key == "K8S_POD_NAMESPACE")
      pod.space = std::move(value);
    else if (key == "K8S_POD_NAME")
      pod.name = std::move(value);
    else if (key == "K8S_POD_UID")
      pod.uid = std::move(value);
    else if (key == "K8S_POD_INFRA_CONTAINER_ID")
      pod.sandbox_id = std::move(value);
  }
}

void take_address(Pod& pod, const Json& prefixed) {
  const std::string text = text_of(prefixed);
  const auto address = parse_address(std::string_view(text).substr(0, text.find('/')));
  if (address && pod.addresses.size() < kMaxAddresses) pod.addresses.insert(*address);
}

// Results since CNI 0.3.0 list interfaces and addresses; before that there was one address of each
// family and nothing else.
void take_result(Pod& pod, const Json& result) {
  for (const Json& ip : elements(member(result, "ips"))) take_address(pod, member(ip, "address"));
  for (const char* family : {"ip4", "ip6"}) take_address(pod, member(member(result, family), "ip"));
  for (const Json& interface : elements(member(result, "interfaces"))) {
    const std::string sandbox = text_of(member(interface, "sandbox"));
    if (pod.netns_mount.empty()) pod.netns_mount = mount_name(sandbox);
    // The bridge plugin lists its bridge before the veth.
    if (sandbox.empty()) pod.host_veth = name_of(member(interface, "name"));
  }
}

std::optional<std::uint16_t> port_of(const Json& mapping, const char* key, const char* other_key) {
  const Json& named = member(mapping, key);
  const Json& port = named.is_null() ? member(mapping, other_key) : named;
  if (!port.is_number_unsigned()) return std::nullopt;
  const auto number = port.get<std::uint64_t>();
  if (number == 0 || number > std::numeric_limits<std::uint16_t>::max()) return std::nullopt;
  return static_cast<std::uint16_t>(number);
}

// containerd's Go structures have no JSON names, those of the CNI conventions do.
void take_host_ports(Pod& pod, const Json& mappings) {
  for (const Json& mapping : elements(mappings)) {
    const auto host = port_of(mapping, "hostPort", "HostPort");
    const auto container = port_of(mapping, "containerPort", "ContainerPort");
    if (!host || !container || pod.host_ports.size() == kMaxHostPorts) continue;
    const auto text = [&mapping](const char* key, const char* other_key) {
      return text_of(member(mapping, key)) + text_of(member(mapping, other_key));
    };
    pod.host_ports.push_back(
        {*host, *container, text("protocol", "Protocol"), parse_address(text("hostIP", "HostIP"))});
  }
}

std::string annotation(const Json& config, const char* key) {
  return name_of(member(member(config, "annotations"), key));
}

void fill(std::string& field, const std::string& value) {
  if (field.empty()) field = value;
}

using Sandboxes = std::map<std::string, Pod>;

void add_attachment(Sandboxes& pods, const Pod& attachment) {
  Pod& pod = pods.try_emplace(attachment.sandbox_id, attachment).first->second;
  for (const Address& address : attachment.addresses) {
    if (pod.addresses.size() < kMaxAddresses) pod.addresses.insert(address);
  }
  fill(pod.host_veth, attachment.host_veth);
  fill(pod.netns_mount, attachment.netns_mount);
}

void add_container(Sandboxes& pods, const std::string& id, const ContainerFacts& facts) {
  Pod& pod = pods[facts.sandbox_id];
  pod.sandbox_id = facts.sandbox_id;
  fill(pod.space, facts.space);
  fill(pod.name, facts.name);
  fill(pod.uid, facts.uid);
  fill(pod.netns_mount, facts.netns_mount);
  if (!facts.is_sandbox && pod.containers.size() < kMaxContainers) pod.containers.insert(id);
}

// A lease is the IPAM plugin's last word on whose an address is: it gives none away that is leased.
void apply_leases(Sandboxes& pods, const std::map<Address, std::string>& leases) {
  for (const auto& [address, sandbox_id] : leases) {
    const auto holder = pods.find(sandbox_id);
    if (holder != pods.end() && holder->second.addresses.size() < kMaxAddresses)
      holder->second.addresses.insert(address);
  }
  for (auto& [id, pod] : pods) {
    std::erase_if(pod.addresses, [&](const Address& address) {
      const auto lease = leases.find(address);
      return lease != leases.end() && lease->second != id;
    });
  }
}

void add_logs(Pod& pod, const std::vector<PodLogs>& logs) {
  if (pod.uid.empty() || !(pod.name.empty() || pod.space.empty())) return;
  const auto found = std::ranges::find(logs, pod.uid, &PodLogs::uid);
  if (found == logs.end()) return;
  pod.space = found->space;
  pod.name = found->name;
}

}  // namespace

std::optional<Pod> pod_from_cni_cache(std::string_view json) {
  const Json cache = parse(json);
  if (member(cache, "kind") != "cniCacheV1") return std::nullopt;
  if (member(cache, "networkName") == "cni-loopback" || member(cache, "ifName") == "lo")
    return std::nullopt;
  Pod pod;
  pod.sandbox_id = name_of(member(cache, "containerId"));
  pod.netns_mount = mount_name(text_of(member(cache, "netns")));
  take_arguments(pod, member(cache, "cniArgs"));
  take_result(pod, member(cache, "result"));
  take_host_ports(pod, member(member(cache, "capabilityArgs"), "portMappings"));
  // podman's networks leave such a file as well, and have no pods.
  if (pod.sandbox_id.empty() || (pod.name.empty() && pod.uid.empty())) return std::nullopt;
  return pod;
}

std::optional<ContainerFacts> container_from_config(std::string_view json) {
  const Json config = parse(json);
  ContainerFacts facts;
  const std::string type = annotation(config, "io.kubernetes.cri.container-type");
  if (type != "sandbox" && type != "container") return std::nullopt;
  facts.is_sandbox = type == "sandbox";
  facts.sandbox_id = annotation(config, "io.kubernetes.cri.sandbox-id");
  if (facts.sandbox_id.empty()) return std::nullopt;
  facts.space = annotation(config, "io.kubernetes.cri.sandbox-namespace");
  facts.name = annotation(config, "io.kubernetes.cri.sandbox-name");
  facts.uid = annotation(config, "io.kubernetes.cri.sandbox-uid");
  for (const Json& space : elements(member(member(config, "linux"), "namespaces"))) {
    if (member(space, "type") == "network")
      facts.netns_mount = mount_name(text_of(member(space, "path")));
  }
  return facts;
}

std::optional<std::string> sandbox_from_lease(std::string_view text) {
  const std::string_view id = text.substr(0, text.find_first_of("\r\n"));
  if (!is_name(id)) return std::nullopt;
  return std::string(id);
}

std::optional<PodLogs> pod_from_log_directory(std::string_view name) {
  std::array<std::string_view, 3> parts;
  for (std::string_view& part : parts) {
    part = name.substr(0, name.find('_'));
    if (!is_name(part)) return std::nullopt;
    name.remove_prefix(std::min(part.size() + 1, name.size()));
  }
  if (!name.empty()) return std::nullopt;
  return PodLogs{std::string(parts[0]), std::string(parts[1]), std::string(parts[2])};
}

std::vector<Pod> live_pods(const PodFiles& files,
                           const std::map<std::string, std::uint32_t>& mounts) {
  Sandboxes sandboxes;
  for (const Pod& attachment : files.attachments) add_attachment(sandboxes, attachment);
  for (const auto& [id, facts] : files.containers) add_container(sandboxes, id, facts);
  apply_leases(sandboxes, files.leases);

  std::vector<Pod> pods;
  for (auto& [id, pod] : sandboxes) {
    add_logs(pod, files.logs);
    const auto mount = mounts.find(pod.netns_mount);
    if (mount == mounts.end() || pod.name.empty() || pod.space.empty()) continue;
    pod.netns = mount->second;
    pods.push_back(std::move(pod));
  }
  return pods;
}

}  // namespace droptrace

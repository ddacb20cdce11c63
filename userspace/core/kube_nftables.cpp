// SPDX-License-Identifier: GPL-2.0-only
#include "core/kube_nftables.h"

#include <algorithm>
#include <optional>
#include <string>

namespace droptrace {
namespace {

// "PREFIX-HHHHHHHH-NS/SVC/PROTOCOL/PORT" or, of an endpoint, with "__IP/PORT" behind that. Views
// into the name.
struct ChainName {
  std::string_view prefix;  // "service", "local", "external", "firewall", "endpoint"
  std::string service;      // "NS/SVC:PORT"
  std::uint8_t protocol = 0;
  std::string_view endpoint;  // "IP/PORT"; empty: none
};

// Cuts the part before the separator off text.
std::string_view take(std::string_view& text, std::string_view separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + separator.size());
  return part;
}

// Names above 240 bytes end in "..."; what is missing there is not known.
std::optional<ChainName> parse_chain(std::string_view name) {
  if (name.ends_with("...")) return std::nullopt;
  ChainName chain;
  chain.prefix = take(name, "-");
  take(name, "-");  // the hash of what follows
  const std::string_view ns = take(name, "/");
  const std::string_view service = take(name, "/");
  const auto protocol = service_protocol(take(name, "/"));
  const std::string_view port = take(name, "__");
  if (!protocol) return std::nullopt;
  chain.service = ns;
  chain.service += '/';
  chain.service += service;
  if (!port.empty()) {
    chain.service += ':';
    chain.service += port;
  }
  chain.protocol = *protocol;
  chain.endpoint = name;
  return chain;
}

// "10.244.0.6/8080"; in IPv6 addresses dots stand for colons, which no chain's name may hold.
std::optional<Endpoint> parse_endpoint(std::string_view text, bool v6) {
  std::string host(take(text, "/"));
  if (v6) std::ranges::replace(host, '.', ':');
  const auto address = parse_address(host);
  const auto port = parse_port(text);
  if (!address || !port) return std::nullopt;
  return Endpoint{*address, *port};
}

// What a map's key says: with or without an address, protocol and port.
struct Key {
  std::optional<Address> address;
  std::uint8_t protocol = 0;
  std::uint16_t port = 0;
};

constexpr std::size_t kPartSize = 4;  // NFT_REG32_SIZE
constexpr std::size_t kClusterIpsMax = 100'000;

std::optional<Key> parse_key(std::span<const std::uint8_t> bytes, bool v6, bool has_address) {
  const std::size_t address_size = has_address ? (v6 ? 16 : 4) : 0;
  if (bytes.size() != address_size + 2 * kPartSize) return std::nullopt;
  Key key;
  if (has_address) key.address = address_from_bytes(bytes.first(address_size));
  bytes = bytes.subspan(address_size);
  key.protocol = bytes[0];
  key.port = static_cast<std::uint16_t>(bytes[kPartSize] << 8U | bytes[kPartSize + 1]);
  return key;
}

}  // namespace

void KubeNftablesReader::add_chain(std::string_view name) {
  if (!name.starts_with("endpoint-")) return;
  const auto chain = parse_chain(name);
  const auto endpoint = chain ? parse_endpoint(chain->endpoint, v6_) : std::nullopt;
  if (!endpoint) return builder_.pass_over();
  const auto service = builder_.service(chain->service, chain->protocol);
  if (service) builder_.add_endpoint(*service, *endpoint);
}

void KubeNftablesReader::add_element(const NftElement& element) {
  if (element.set == "cluster-ips" || element.set == "nodeport-ips") {
    const auto address = address_from_bytes(element.key);
    if (!address || address->v6 != v6_) return builder_.pass_over();
    if (element.set == "cluster-ips") {
      if (cluster_ips_.size() < kClusterIpsMax) cluster_ips_.insert(*address);
      return;
    }
    return builder_.limit_node_ports({*address, static_cast<std::uint8_t>(v6_ ? 128 : 32)});
  }
  const bool is_node_port = element.set.ends_with("-nodeports");
  const bool is_refusal = element.set.starts_with("no-endpoint-");
  const auto key = parse_key(element.key, v6_, !is_node_port);
  const auto chain = is_refusal ? std::nullopt : parse_chain(element.chain);
  if (!key || (!is_refusal && !chain)) return builder_.pass_over();

  const std::string_view name = chain ? std::string_view(chain->service) : element.comment;
  const auto service = builder_.service(name, key->protocol);
  if (!service) return;
  if (element.set == "firewall-ips") {
    builder_.at(*service).source_ranges = true;
    return;
  }
  using Kind = ServiceFrontend::Kind;
  ServiceFrontend frontend{key->address, v6_, key->port, Kind::kNodePort, Backing::kEndpoints};
  if (key->address)
    frontend.kind = cluster_ips_.contains(*key->address) ? Kind::kClusterIp : Kind::kExternal;
  // The verdict of a service without endpoints is to go to the chain that rejects, else to drop.
  if (is_refusal) frontend.backing = element.chain.empty() ? Backing::kNoneLocal : Backing::kNone;
  const bool is_local =
      frontend.backing == Backing::kNoneLocal || (chain && chain->prefix == "local");
  Service& of = builder_.at(*service);
  if (is_local) (frontend.kind == Kind::kClusterIp ? of.internal_local : of.external_local) = true;
  builder_.add_frontend(*service, frontend);
}

}  // namespace droptrace

// SPDX-License-Identifier: GPL-2.0-only
#include "core/services.h"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

namespace droptrace {
namespace {

// Ten times what Kubernetes is tested with.
constexpr std::size_t kServicesMax = 100'000;
constexpr std::size_t kEndpointsMax = 1'000'000;
constexpr std::size_t kFrontendsMax = 1'000;  // of one service
constexpr std::size_t kHostPortsMax = 10'000;
constexpr std::size_t kNetworksMax = 1'000;
constexpr std::size_t kLabelMax = 63;  // RFC 1123, and so Kubernetes

// A name as Kubernetes takes it for a namespace, a service and a port.
bool is_label(std::string_view text) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !text.empty() && text.size() <= kLabelMax && std::ranges::all_of(text, is_allowed) &&
         text.front() != '-' && text.back() != '-';
}

}  // namespace

std::string Service::text() const {
  std::string text = ns + '/' + name;
  if (!port_name.empty()) text += ':' + port_name;
  return text;
}

std::optional<std::uint8_t> service_protocol(std::string_view text) {
  if (text == "tcp" || text == "6") return IPPROTO_TCP;
  if (text == "udp" || text == "17") return IPPROTO_UDP;
  if (text == "sctp" || text == "132") return IPPROTO_SCTP;
  return std::nullopt;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return port;
}

std::optional<Services::Match> Services::find(const Dialled& dialled) const {
  const auto found = std::ranges::lower_bound(by_frontend_, dialled, {}, &Entry::dialled);
  if (found == by_frontend_.end() || found->dialled != dialled) return std::nullopt;
  const Service& service = services_[found->service];
  return Match{&service, &service.frontends[found->frontend]};
}

std::optional<Services::Match> Services::find(const Address& address, std::uint16_t port,
                                              std::uint8_t protocol, bool of_node) const {
  if (const auto match = find({address, false, port, protocol})) return match;
  bool is_open = of_node;
  for (const Cidr& network : node_port_networks_) {
    if (network.network.v6 != address.v6) continue;
    is_open = of_node && network.contains(address);
    if (is_open) break;
  }
  if (!is_open) return std::nullopt;
  return find({Address{address.v6, {}}, true, port, protocol});
}

std::optional<std::string> Services::name_of(const Address& address) const {
  auto entry =
      std::ranges::lower_bound(by_frontend_, Dialled{address, false, 0, 0}, {}, &Entry::dialled);
  const Service* found = nullptr;
  for (; entry != by_frontend_.end() && entry->dialled.address == address; ++entry) {
    const Service& service = services_[entry->service];
    if (entry->dialled.any) break;
    if (found && (found->ns != service.ns || found->name != service.name)) return std::nullopt;
    found = &service;
  }
  if (!found) return std::nullopt;
  return found->ns + '/' + found->name;
}

std::vector<const Service*> Services::behind(const Endpoint& endpoint,
                                             std::uint8_t protocol) const {
  std::vector<const Service*> found;
  auto target = std::ranges::lower_bound(by_endpoint_, Target{endpoint, protocol, 0});
  for (; target != by_endpoint_.end() && target->endpoint == endpoint; ++target) {
    if (target->protocol != protocol) break;
    found.push_back(&services_[target->service]);
  }
  return found;
}

const HostPort* Services::find_host_port(const Address& address, std::uint16_t port,
                                         std::uint8_t protocol) const {
  const auto found = std::ranges::find_if(host_ports_, [&](const HostPort& each) {
    return each.port == port && each.protocol == protocol &&
           each.endpoint.address.v6 == address.v6 && each.address.value_or(address) == address;
  });
  return found == host_ports_.end() ? nullptr : &*found;
}

std::optional<std::uint32_t> ServicesBuilder::service(std::string_view text,
                                                      std::uint8_t protocol) {
  std::string key(text);
  key += '/';
  key += static_cast<char>(protocol);
  if (const auto known = by_name_.find(key); known != by_name_.end()) return known->second;
  const std::size_t slash = std::min(text.find('/'), text.size());
  const std::string_view rest = text.substr(std::min(slash + 1, text.size()));
  const std::size_t colon = rest.find(':');
  Service service;
  service.ns = text.substr(0, slash);
  service.name = rest.substr(0, colon);
  if (colon != std::string_view::npos) service.port_name = rest.substr(colon + 1);
  service.protocol = protocol;
  const bool is_port = colon == std::string_view::npos || is_label(service.port_name);
  if (!is_label(service.ns) || !is_label(service.name) || !is_port ||
      services_.services_.size() >= kServicesMax) {
    pass_over();
    return std::nullopt;
  }
  const auto index = static_cast<std::uint32_t>(services_.services_.size());
  services_.services_.push_back(std::move(service));
  by_name_.emplace(std::move(key), index);
  return index;
}

// A frontend may be in the rules twice: where its connections go, and why they do not.
void ServicesBuilder::add_frontend(std::uint32_t service, const ServiceFrontend& frontend) {
  std::vector<ServiceFrontend>& frontends = at(service).frontends;
  const auto known = std::ranges::find_if(frontends, [&](const ServiceFrontend& each) {
    return each.address == frontend.address && each.v6 == frontend.v6 && each.port == frontend.port;
  });
  if (known != frontends.end()) {
    if (known->backing == Backing::kEndpoints) known->backing = frontend.backing;
  } else if (frontends.size() < kFrontendsMax) {
    frontends.push_back(frontend);
  } else {
    pass_over();
  }
}

void ServicesBuilder::add_endpoint(std::uint32_t service, const Endpoint& endpoint) {
  if (endpoints_ >= kEndpointsMax) return pass_over();
  ++endpoints_;
  at(service).endpoints.push_back(endpoint);
}

void ServicesBuilder::add_host_port(HostPort port) {
  if (services_.host_ports_.size() >= kHostPortsMax) return pass_over();
  services_.host_ports_.push_back(std::move(port));
}

void ServicesBuilder::limit_node_ports(const Cidr& network) {
  if (services_.node_port_networks_.size() >= kNetworksMax) return pass_over();
  services_.node_port_networks_.push_back(network);
}

Services ServicesBuilder::build() && {
  index_frontends();
  index_endpoints();
  return std::move(services_);
}

// Two services cannot have one frontend. Where rules say so, some are left over from an earlier
// backend, and which is not known.
void ServicesBuilder::index_frontends() {
  using Entry = Services::Entry;
  std::vector<Entry> entries;
  for (std::uint32_t i = 0; i < services_.services_.size(); ++i) {
    const Service& service = at(i);
    for (std::uint32_t j = 0; j < service.frontends.size(); ++j) {
      const ServiceFrontend& frontend = service.frontends[j];
      const Address address = frontend.address.value_or(Address{frontend.v6, {}});
      entries.push_back({{address, !frontend.address, frontend.port, service.protocol}, i, j});
    }
  }
  std::ranges::sort(entries, {}, &Entry::dialled);
  for (auto entry = entries.begin(); entry != entries.end();) {
    const auto next = std::find_if(
        entry, entries.end(), [&](const Entry& each) { return each.dialled != entry->dialled; });
    if (next - entry == 1)
      services_.by_frontend_.push_back(*entry);
    else
      pass_over();
    entry = next;
  }
}

void ServicesBuilder::index_endpoints() {
  for (std::uint32_t i = 0; i < services_.services_.size(); ++i) {
    std::vector<Endpoint>& endpoints = at(i).endpoints;
    std::ranges::sort(endpoints);
    const auto repeated = std::ranges::unique(endpoints);
    endpoints.erase(repeated.begin(), repeated.end());
    for (const Endpoint& endpoint : endpoints)
      services_.by_endpoint_.push_back({endpoint, at(i).protocol, i});
  }
  std::ranges::sort(services_.by_endpoint_);
}

}  // namespace droptrace

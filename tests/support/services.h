// SPDX-License-Identifier: GPL-2.0-only
// Ways into the services that were read from rules.
#pragma once

#include <netinet/in.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "core/kube_iptables.h"
#include "core/services.h"

namespace droptrace {

inline Address ip(std::string_view text) { return parse_address(text).value(); }

// What iptables-save has printed, in pieces of so many bytes.
inline Services services_of_save(const std::string& text, bool v6 = false,
                                 std::size_t piece = std::string::npos) {
  ServicesBuilder builder;
  KubeIptablesReader reader(builder, v6);
  for (std::size_t at = 0; at < text.size(); at += std::min(piece, text.size()))
    reader.feed(std::string_view(text).substr(at, piece));
  reader.finish();
  return std::move(builder).build();
}

// The name of what is dialled; empty if it is no service.
inline std::string dialled(const Services& services, std::string_view address, std::uint16_t port,
                           std::uint8_t protocol = IPPROTO_TCP) {
  const auto found = services.find(ip(address), port, protocol, false);
  return found ? found->service->text() : "";
}

// The same at an address of the node.
inline std::string dialled_on_node(const Services& services, std::string_view address,
                                   std::uint16_t port, std::uint8_t protocol = IPPROTO_TCP) {
  const auto found = services.find(ip(address), port, protocol, true);
  return found ? found->service->text() : "";
}

inline const Service& service_named(const Services& services, std::string_view text,
                                    std::uint8_t protocol = IPPROTO_TCP) {
  const auto found = std::ranges::find_if(services.all(), [&](const Service& service) {
    return service.text() == text && service.protocol == protocol;
  });
  REQUIRE_MESSAGE(found != services.all().end(), "no service " << std::string(text));
  return *found;
}

inline std::vector<std::string> endpoints_of(const Service& service) {
  std::vector<std::string> texts;
  for (const Endpoint& endpoint : service.endpoints) texts.push_back(to_string(endpoint));
  return texts;
}

}  // namespace droptrace

// SPDX-License-Identifier: GPL-2.0-only
// What only the API server tells of addresses: pods of other nodes, and headless services, which
// have no rules. Immutable once built.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"

namespace droptrace {

class ApiNames {
 public:
  struct Pod {
    std::string space;  // its Kubernetes namespace
    std::string name;
    std::string node;
  };

  // kubectl's templates (-o go-template) that print what add_pod() and add_headless() read, a line
  // for each address: "IP NAMESPACE NAME NODE" and "IP NAMESPACE SERVICE".
  static const char* const kPodTemplate;
  static const char* const kHeadlessTemplate;  // of EndpointSlices

  // A line that is nothing of the kind is passed over.
  void add_pod(std::string_view line);
  void add_headless(std::string_view line);

  // The pod that has the address, on whichever node; nullptr if none is known. Pods in their node's
  // network are not among them.
  const Pod* pod(const Address& address) const;

  // "NS/NAME" of the only headless service whose endpoint has the address.
  std::optional<std::string> headless(const Address& address) const;

 private:
  std::map<Address, Pod> pods_;
  std::map<Address, std::string> headless_;  // empty: more than one
};

}  // namespace droptrace

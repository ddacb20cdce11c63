// SPDX-License-Identifier: GPL-2.0-only
#include <nlohmann/json.hpp>

#include "core/cluster.h"

namespace droptrace {
namespace {

using Json = nlohmann::json;

// A member of an object, or null.
const Json& member(const Json& object, const char* name) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}

void take_subnet(const Json& range, std::vector<Cidr>& found) {
  const Json& subnet = member(range, "subnet");
  if (!subnet.is_string()) return;
  if (const auto cidr = parse_cidr(subnet.get_ref<const std::string&>())) found.push_back(*cidr);
}

}  // namespace

std::vector<Cidr> pod_cidrs_from_conflist(std::string_view text) {
  const Json list = Json::parse(text, nullptr, false);
  std::vector<Cidr> found;
  for (const Json& plugin : member(list, "plugins")) {
    const Json& ipam = member(plugin, "ipam");
    take_subnet(ipam, found);
    for (const Json& set : member(ipam, "ranges")) {
      if (!set.is_array()) continue;
      for (const Json& range : set) take_subnet(range, found);
    }
  }
  return found;
}

}  // namespace droptrace

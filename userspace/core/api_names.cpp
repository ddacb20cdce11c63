// SPDX-License-Identifier: GPL-2.0-only
#include "core/api_names.h"

#include <array>
#include <cstddef>

namespace droptrace {

namespace {

// The words of a line, if it has just so many.
template <std::size_t kCount>
std::optional<std::array<std::string_view, kCount>> words_of(std::string_view line) {
  std::array<std::string_view, kCount> words;
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::size_t end = i + 1 < kCount ? line.find(' ') : line.size();
    if (end == 0 || end == std::string_view::npos) return std::nullopt;
    words[i] = line.substr(0, end);
    line.remove_prefix(i + 1 < kCount ? end + 1 : end);
  }
  if (words.back().find(' ') != std::string_view::npos) return std::nullopt;
  return words;
}

}  // namespace

const char* const ApiNames::kPodTemplate =
    "{{range .items}}{{if not .spec.hostNetwork}}{{$pod := .}}{{range .status.podIPs}}"
    "{{.ip}} {{$pod.metadata.namespace}} {{$pod.metadata.name}} {{$pod.spec.nodeName}}\n"
    "{{end}}{{end}}{{end}}";

const char* const ApiNames::kHeadlessTemplate =
    "{{range .items}}{{$slice := .}}{{range .endpoints}}{{range .addresses}}"
    "{{.}} {{$slice.metadata.namespace}} "
    "{{index $slice.metadata.labels \"kubernetes.io/service-name\"}}\n"
    "{{end}}{{end}}{{end}}";

void ApiNames::add_pod(std::string_view line) {
  const auto words = words_of<4>(line);
  const auto address = words ? parse_address((*words)[0]) : std::nullopt;
  if (!address) return;
  const auto& [ip, space, name, node] = *words;
  pods_[*address] = {std::string(space), std::string(name), std::string(node)};
}

void ApiNames::add_headless(std::string_view line) {
  const auto words = words_of<3>(line);
  const auto address = words ? parse_address((*words)[0]) : std::nullopt;
  if (!address) return;
  const std::string name = std::string((*words)[1]) + '/' + std::string((*words)[2]);
  const auto [known, is_new] = headless_.emplace(*address, name);
  if (!is_new && known->second != name) known->second.clear();
}

const ApiNames::Pod* ApiNames::pod(const Address& address) const {
  const auto found = pods_.find(address);
  return found == pods_.end() ? nullptr : &found->second;
}

std::optional<std::string> ApiNames::headless(const Address& address) const {
  const auto found = headless_.find(address);
  if (found == headless_.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

}  // namespace droptrace

// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/xt_sockopt.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernel/unique_fd.h"

namespace droptrace {

namespace {

// Both families have the same requests and the same structures around their entries.
static_assert(sizeof(ipt_getinfo) == sizeof(ip6t_getinfo) &&
              sizeof(ipt_get_entries) == sizeof(ip6t_get_entries) &&
              static_cast<int>(IPT_SO_GET_INFO) == static_cast<int>(IP6T_SO_GET_INFO) &&
              static_cast<int>(IPT_SO_GET_ENTRIES) == static_cast<int>(IP6T_SO_GET_ENTRIES));

// Reads a field of the entry at offset; the caller has parsed the entries before.
template <typename T>
T read_at(const std::vector<std::byte>& entries, std::size_t offset) {
  T value;
  std::memcpy(&value, entries.data() + offset, sizeof(T));
  return value;
}

std::size_t next_offset(const XtBlob& blob, std::size_t entry, NfFamily family) {
  const std::size_t field = family == NfFamily::kIp ? offsetof(ipt_entry, next_offset)
                                                    : offsetof(ip6t_entry, next_offset);
  return read_at<std::uint16_t>(blob.entries, entry + field);
}

}  // namespace

std::optional<std::string> read_xt_info(NfFamily family, const std::string& name) {
  const bool v4 = family == NfFamily::kIp;
  const UniqueFd socket(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  ipt_getinfo info{};
  if (!socket.valid() || name.size() >= sizeof(info.name)) return std::nullopt;
  name.copy(info.name, name.size());
  socklen_t length = sizeof(info);
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (::getsockopt(socket.get(), level, IPT_SO_GET_INFO, &info, &length) != 0) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(&info), sizeof(info));
}

std::optional<XtBlob> read_xt_table(NfFamily family, const std::string& name) {
  const bool v4 = family == NfFamily::kIp;
  const UniqueFd socket(::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
  ipt_getinfo info{};
  if (!socket.valid() || name.size() >= sizeof(info.name)) return std::nullopt;
  name.copy(info.name, name.size());
  socklen_t length = sizeof(info);
  if (::getsockopt(socket.get(), level, IPT_SO_GET_INFO, &info, &length) != 0) return std::nullopt;

  std::vector<std::byte> answer(sizeof(ipt_get_entries) + info.size);
  ipt_get_entries request{};
  name.copy(request.name, name.size());
  request.size = info.size;
  std::memcpy(answer.data(), &request, sizeof(request));
  length = static_cast<socklen_t>(answer.size());
  // EAGAIN: the size has changed in between.
  if (::getsockopt(socket.get(), level, IPT_SO_GET_ENTRIES, answer.data(), &length) != 0)
    return std::nullopt;

  XtBlob blob;
  blob.layout.valid_hooks = info.valid_hooks;
  std::ranges::copy(info.hook_entry, std::begin(blob.layout.hook_entries));
  std::ranges::copy(info.underflow, std::begin(blob.layout.underflows));
  blob.number = info.num_entries;
  blob.entries.assign(answer.begin() + sizeof(ipt_get_entries), answer.end());
  return blob;
}

std::uint32_t xt_counters_offset(NfFamily family) {
  return family == NfFamily::kIp ? offsetof(ipt_entry, counters) : offsetof(ip6t_entry, counters);
}

bool same_table(const XtBlob& before, const XtBlob& after, NfFamily family) {
  if (before.number != after.number || before.entries.size() != after.entries.size()) return false;
  const std::size_t counters = xt_counters_offset(family);
  const auto same_bytes = [&](std::size_t start, std::size_t end) {
    return std::memcmp(before.entries.data() + start, after.entries.data() + start, end - start) ==
           0;
  };
  std::size_t start = 0;  // of what lies between two counters
  for (std::size_t entry = 0; entry < before.entries.size();) {
    if (!same_bytes(start, entry + counters)) return false;
    const auto was = read_at<xt_counters>(before.entries, entry + counters);
    const auto is = read_at<xt_counters>(after.entries, entry + counters);
    if (is.pcnt < was.pcnt || is.bcnt < was.bcnt) return false;
    start = entry + counters + sizeof(xt_counters);
    entry += next_offset(before, entry, family);
  }
  return same_bytes(start, before.entries.size());
}

}  // namespace droptrace

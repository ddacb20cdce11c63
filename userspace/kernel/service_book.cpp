// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/service_book.h"

#include <linux/netlink.h>

#include <algorithm>
#include <utility>

#include "kernel/files.h"
#include "kernel/nft_netlink.h"
#include "kernel/xt_sockopt.h"

namespace droptrace {

namespace {

// At most a tenth of the time is spent reading, and programs are not started all the time where
// kindnetd or kube-proxy change something all the time.
constexpr int kRestPerRead = 10;
constexpr std::chrono::seconds kRestMin{1};
constexpr std::chrono::milliseconds kBetweenLooks{20};
constexpr const char* kNatTable = "nat";

struct LegacyFamily {
  NfFamily family;
  const char* names;  // the tables that there are; asking the kernel for another would make it
  const char* program;
};
constexpr LegacyFamily kLegacyFamilies[] = {
    {NfFamily::kIp, "/proc/self/net/ip_tables_names", "iptables-legacy-save"},
    {NfFamily::kIp6, "/proc/self/net/ip6_tables_names", "ip6tables-legacy-save"},
};

bool has_nat(const LegacyFamily& family) {
  const auto names = read_file(family.names);
  return names && ("\n" + *names).find("\nnat\n") != std::string::npos;
}

bool has_table(const std::vector<Table>& tables, bool v6, std::string_view name) {
  const NfFamily family = v6 ? NfFamily::kIp6 : NfFamily::kIp;
  return std::ranges::any_of(
      tables, [&](const Table& table) { return table.family == family && table.name == name; });
}

}  // namespace

ServiceBook::ServiceBook(EventLoop& loop)
    : loop_(loop),
      build_timer_(loop.add_timer([this] { build(); })),
      socket_(NetlinkSocket::open(NETLINK_NETFILTER)) {}

ServiceBook::Marks ServiceBook::look(std::uint64_t xt_changes) {
  Marks marks;
  if (socket_) marks.generation = read_nft_generation(*socket_);
  for (const LegacyFamily& family : kLegacyFamilies) {
    if (has_nat(family)) marks.xt_infos += read_xt_info(family.family, kNatTable).value_or("");
  }
  if (!marks.xt_infos.empty()) marks.xt_changes = xt_changes;
  return marks;
}

void ServiceBook::refresh(std::uint64_t xt_changes) {
  const auto now = Clock::now();
  if (reading() || now < rest_until_) return;
  rest_until_ = now + kBetweenLooks;
  Marks marks = look(xt_changes);
  if (marks == marks_) return;
  marks_ = std::move(marks);
  start();
}

void ServiceBook::housekeep() {
  for (const auto& tool : tools_) tool->end_if_overdue();
}

void ServiceBook::start() {
  started_ = Clock::now();
  builder_.emplace();
  readers_.clear();
  tools_.clear();
  dumps_.clear();
  sources_.clear();
  const auto tables = socket_ ? list_nft_tables(*socket_) : std::nullopt;
  for (const bool v6 : {false, true}) {
    if (tables && has_table(*tables, v6, kKubeNftTable)) sources_.push_back({nullptr, v6});
    if (tables && has_table(*tables, v6, kNatTable))
      sources_.push_back({v6 ? "ip6tables-nft-save" : "iptables-nft-save", v6});
  }
  for (const LegacyFamily& family : kLegacyFamilies) {
    if (has_nat(family)) sources_.push_back({family.program, family.family == NfFamily::kIp6});
  }
  read_next();
}

// One after the other: the node has other things to do. What is done is kept until all is, as it is
// what calls this.
void ServiceBook::read_next() {
  while (!sources_.empty()) {
    const Source source = sources_.front();
    sources_.pop_front();
    if (read(source)) return;
  }
  build_timer_.start_once(1);  // others get their turn first
}

// False if it cannot be read: then it has no part in what is known.
bool ServiceBook::read(const Source& source) {
  if (!source.program) {
    const auto finished = [this] { read_next(); };
    dumps_.push_back(std::make_unique<KubeNftDump>(loop_, *builder_, source.v6, finished));
    return dumps_.back()->running();
  }
  readers_.push_back(std::make_unique<KubeIptablesReader>(*builder_, source.v6));
  KubeIptablesReader& reader = *readers_.back();
  tools_.push_back(std::make_unique<Tool>(
      loop_, std::vector<std::string>{source.program},
      [&reader](std::string_view piece) { reader.feed(piece); },
      // What a program said before it failed is true all the same.
      [this, &reader](bool) {
        reader.finish();
        read_next();
      }));
  return tools_.back()->running();
}

void ServiceBook::build() {
  services_ = std::make_shared<const Services>(std::move(*builder_).build());
  builder_.reset();
  const auto now = Clock::now();
  rest_until_ = now + std::max<Clock::duration>(kRestMin, kRestPerRead * (now - started_));
}

}  // namespace droptrace

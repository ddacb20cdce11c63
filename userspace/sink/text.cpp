// SPDX-License-Identifier: GPL-2.0-only
#include "sink/text.h"

#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "sink/flow.h"
#include "sink/netfilter_text.h"
#include "sink/path_text.h"
#include "sink/style.h"

namespace droptrace {
namespace {

constexpr std::size_t kGap = 2;  // columns between pieces
// Behind a flow of two IPv4 endpoints, and behind one of three.
constexpr std::size_t kReasonColumn = 68;
constexpr std::size_t kWideReasonColumn = 85;

// Sets pieces side by side, and what does not fit on further, indented lines.
class Layout {
 public:
  explicit Layout(const StyledText& first) : text_(first.bytes), column_(first.columns) {}

  // A piece without columns is something that is not known, and takes no room.
  void add(const StyledText& piece, std::size_t gap = kGap) {
    if (piece.columns == 0) return;
    std::size_t start = std::max(column_ + gap, tab_);
    if (break_before_next_ || start + piece.columns > kMaxColumns) {
      text_ += '\n';
      column_ = 0;
      start = kIndent;
      first_line_ = false;
    }
    text_.append(start - column_, ' ').append(piece.bytes);
    column_ = start + piece.columns;
    tab_ = 0;
    break_before_next_ = false;
  }

  // Columns that the next piece has in its line.
  std::size_t room() const {
    const std::size_t start = break_before_next_ ? kIndent : std::max(column_ + kGap, tab_);
    return kMaxColumns - std::min(start, kMaxColumns);
  }

  bool fits(const StyledText& piece) const { return column_ + kGap + piece.columns <= kMaxColumns; }

  bool in_first_line() const { return first_line_; }

  // The next piece of the first line starts at the first of these columns that is still free, if
  // that leaves room for so many columns.
  void tab(std::initializer_list<std::size_t> stops, std::size_t following = 0) {
    if (!first_line_) return;
    const auto* const stop = std::ranges::lower_bound(stops, column_ + kGap);
    if (stop != stops.end() && *stop + following <= kMaxColumns) tab_ = *stop;
  }

  // The next piece starts the second line, or goes on with it if the first one was too long.
  void begin_second_line() { break_before_next_ = first_line_; }

  std::string take() && { return std::move(text_) + '\n'; }

 private:
  std::string text_;
  std::size_t column_;
  std::size_t tab_ = 0;
  bool first_line_ = true;
  bool break_before_next_ = false;
};

StyledText clock_time(std::int64_t time_ns, const TextOptions& options, const Painter& paint) {
  return paint(clock_text(time_ns, options.utc_offset_s), Style::kDim);
}

std::string tcp_text(const Drop& drop) {
  const Packet& packet = drop.record.packet;
  if (!packet.tcp_flags) return "TCP";
  if (drop.attempt) return fmt::format("SYN {}", drop.attempt->syn);

  // What push and the congestion bits add does not change what a segment is.
  const unsigned flags = *packet.tcp_flags & ~(kTcpPush | kTcpEce | kTcpCwr);
  switch (flags) {
    case kTcpSyn:
      return "SYN";
    case kTcpSyn | kTcpAck:
      return "SYN-ACK";
    case kTcpRst:
    case kTcpRst | kTcpAck:
      return "RST";
    case kTcpFin:
    case kTcpFin | kTcpAck:
      return "FIN";
    default:
      break;
  }
  if (*packet.tcp_flags == kTcpAck) return "ACK";
  return "TCP " + tcp_flags_text(*packet.tcp_flags);
}

std::string icmp_text(std::string_view name, const Packet& packet) {
  if (!packet.icmp_type || !packet.icmp_code) return std::string(name);
  return fmt::format("{} {}/{}", name, *packet.icmp_type, *packet.icmp_code);
}

std::string ip_text(const Drop& drop) {
  const Packet& packet = drop.record.packet;
  if (!packet.protocol) return packet.l3 == L3::kIpv6 ? "IPv6" : "IPv4";
  switch (*packet.protocol) {
    case IPPROTO_TCP:
      return tcp_text(drop);
    case IPPROTO_UDP:
      return "UDP";
    case IPPROTO_SCTP:
      return "SCTP";
    case IPPROTO_ICMP:
      return icmp_text("ICMP", packet);
    case IPPROTO_ICMPV6:
      return icmp_text("ICMPv6", packet);
    default:
      return fmt::format("proto {}", *packet.protocol);
  }
}

// What the packet is: "SYN 1", "UDP fragment", "ethertype 0x88cc".
std::string packet_text(const Drop& drop) {
  const Packet& packet = drop.record.packet;
  switch (packet.l3) {
    case L3::kIpv4:
    case L3::kIpv6:
      return ip_text(drop) + (packet.later_fragment ? " fragment" : "");
    case L3::kArp:
      return "ARP";
    case L3::kOther:
      break;
  }
  return packet.ethertype ? fmt::format("ethertype 0x{:04x}", *packet.ethertype) : "not IP";
}

void add_flow(const std::vector<FlowEnd>& ends, const Painter& paint, Layout& layout) {
  for (std::size_t i = 0; i < ends.size(); ++i) {
    StyledText piece = paint(to_string(ends[i]), ends[i].style);
    if (i == 0) {
      layout.add(piece);
      continue;
    }
    // An arrow stays with the end that it points to.
    const StyledText arrow = paint("→ ");
    piece.bytes.insert(0, arrow.bytes);
    piece.columns += arrow.columns;
    layout.add(piece, 1);
  }
}

std::string gives_up_text(const std::optional<AttemptState>& attempt) {
  // A time that has passed was a wrong guess.
  if (!attempt || !attempt->gives_up_ns || *attempt->gives_up_ns <= attempt->age_ns) return "";
  const std::chrono::nanoseconds left(*attempt->gives_up_ns - attempt->age_ns);
  return fmt::format("gives up in {} s", std::chrono::round<std::chrono::seconds>(left).count());
}

// "same place" says which one only while there has been no other.
std::string repeat_text(const AttemptState& attempt, const std::string& location) {
  if (attempt.dropped_here != attempt.dropped) return "again at " + location;
  return fmt::format("same place ({} dropped)", attempt.dropped);
}

// Where the packet died, and the other end of that veth.
struct Place {
  std::string where;
  std::string peer_where;
  std::string peer_ifname;  // with the slash before it
};

// The names of namespaces escaped.
Place place_of(const Drop& drop) {
  const std::string peer = drop.peer.value_or("");
  const std::size_t slash = std::min(peer.rfind('/'), peer.size());
  return {escaped(drop.where.value_or("")).bytes, escaped(peer.substr(0, slash)).bytes,
          peer.substr(slash)};
}

// Without the Kubernetes namespace of pods that the flow has named.
Place without_said(Place place, const Drop& drop) {
  for (const auto& [address, party] : drop.parties) {
    if (!party.owner || party.owner->kind != Owner::Kind::kPod) continue;
    const Owner& pod = *party.owner;
    const std::string full = escaped(fmt::format("pod:{}/{}", pod.space, pod.name)).bytes;
    for (std::string* const where : {&place.where, &place.peer_where}) {
      if (*where == full) *where = "pod:…/" + escaped(pod.name).bytes;
    }
  }
  return place;
}

// "node vetha1a1a1a1 ⇄ pod:data/web-0/eth0"
std::string place_text(const Place& place, const Drop& drop) {
  std::vector<std::string> parts;
  if (!place.where.empty()) parts.push_back(place.where);
  if (!drop.where_process.empty()) parts.push_back('(' + drop.where_process + ')');
  if (!drop.record.ifname.empty()) parts.push_back(drop.record.ifname);
  if (drop.peer) parts.push_back("⇄ " + place.peer_where + place.peer_ifname);
  return fmt::format("{}", fmt::join(parts, " "));
}

// Names give way to what follows in the line, if they can still be told apart then; else only to
// the width of a line.
StyledText fitted_place(const Drop& drop, const Painter& paint, std::size_t room,
                        std::size_t following) {
  constexpr std::size_t kShortestName = 20;
  const auto painted = [&](const Place& place) {
    return paint(place_text(place, drop), Style::kWhere);
  };
  const StyledText whole = painted(place_of(drop));
  if (whole.columns + following <= room) return whole;

  const Place brief = without_said(place_of(drop), drop);
  const std::size_t names[] = {escaped(brief.where).columns, escaped(brief.peer_where).columns};
  const std::size_t fixed = painted(brief).columns - names[0] - names[1];
  const auto within = [&](std::size_t columns) {
    const std::size_t longest = name_limit(names, fixed, columns, kShortestName);
    return painted(
        {shortened(brief.where, longest), shortened(brief.peer_where, longest), brief.peer_ifname});
  };
  StyledText narrow = within(room - std::min(room, following));
  if (narrow.columns + following <= room) return narrow;
  return whole.columns <= kMaxColumns - kIndent ? whole : within(kMaxColumns - kIndent);
}

// What dropped it: hook, rule, queue, function, process.
std::vector<StyledText> causes(const Drop& drop, const Painter& paint) {
  std::vector<StyledText> pieces;
  const std::optional<NetfilterFacts>& facts = drop.netfilter;
  if (facts) {
    if (facts->hook) pieces.push_back(paint(fmt::format("{} hook", to_string(*facts->hook))));
    pieces.push_back(paint(rule_text(*facts), Style::kReason));
    pieces.push_back(paint(function_text(*facts), Style::kReason));
    const bool failed = facts->queue_owner || facts->queue_flushed || facts->queue_failed;
    pieces.push_back(paint(queue_text(*facts), failed ? Style::kReason : Style::kPlain));
  }
  // An NFQUEUE verdict's place is always the function that takes it, and its process was named:
  // without them a drop between pods with long names stays within two lines.
  if (facts && facts->queue_owner) return pieces;
  // A rule says more than the function that carries it out.
  if (!facts || (!facts->exact() && !facts->evaluated)) pieces.push_back(paint(drop.location));
  if (drop.comm) pieces.push_back(paint("by " + *drop.comm));
  return pieces;
}

// What may take a line of its own.
void add_remarks(const NetfilterFacts& facts, const Painter& paint, Layout& layout) {
  constexpr std::size_t kRoom = kMaxColumns - kIndent;
  layout.add(paint(candidates_text(facts, kRoom), Style::kReason));
  if (!facts.rule) return;
  layout.add(paint(remark(*facts.rule, kRoom)));
  layout.add(paint(element_text(*facts.rule, kRoom)));
}

// wish: columns that would be welcome behind it.
void add_place(const Drop& drop, const Painter& paint, Layout& layout, std::size_t wish) {
  const std::vector<StyledText> pieces = causes(drop, paint);
  std::size_t following = 0;
  for (const StyledText& piece : pieces) following += piece.columns > 0 ? kGap + piece.columns : 0;
  StyledText place = fitted_place(drop, paint, layout.room(), following + wish);
  if (place.columns + following + wish > layout.room())
    place = fitted_place(drop, paint, layout.room(), following);
  layout.add(place);
  for (const StyledText& piece : pieces) layout.add(piece);
  if (drop.netfilter) add_remarks(*drop.netfilter, paint, layout);
}

// "ring buffer full", or with its share of the records if there are more causes.
std::string causes_text(const std::map<std::string, std::uint64_t>& causes) {
  std::vector<std::string> parts;
  for (const auto& [cause, count] : causes) {
    parts.push_back(causes.size() > 1 ? fmt::format("{} {}", cause, count) : cause);
    std::ranges::replace(parts.back(), '_', ' ');
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::string TextSink::drop(const Drop& drop) {
  const Painter paint(options_.color, !drop.noise.empty());
  const bool repeat = drop.attempt && drop.attempt->dropped_here > 1;
  const StyledText why = repeat ? paint(repeat_text(*drop.attempt, drop.location))
                                : paint(drop.reason, Style::kReason);
  const StyledText answer = drop.answer ? paint("answered " + *drop.answer) : StyledText();
  const StyledText gives_up = paint(gives_up_text(drop.attempt));
  std::size_t behind = 0;
  for (const StyledText* const piece : {&why, &answer, &gives_up})
    behind += piece->columns > 0 ? kGap + piece->columns : 0;

  Layout layout(clock_time(drop.time_ns, options_, paint));
  layout.add(paint(packet_text(drop)));
  layout.tab({kFlowColumn});
  std::vector<FlowEnd> ends = flow_ends(drop, repeat);
  // A repeat is one line; in the long form the reason may go on the second.
  fit(ends, layout.room() - (repeat ? std::min(layout.room(), behind) : 0));
  add_flow(ends, paint, layout);
  layout.tab({kReasonColumn, kWideReasonColumn}, behind - std::min(behind, kGap));
  layout.add(why);
  layout.add(answer);
  // Where it died is worth more than the client's patience, which is not worth a line: a repeat
  // will tell it.
  const bool gives_up_fits = repeat || (layout.in_first_line() && layout.fits(gives_up));
  if (gives_up_fits) layout.add(gives_up);
  if (!repeat) {
    layout.begin_second_line();
    const bool wanted = !gives_up_fits && gives_up.columns > 0;
    add_place(drop, paint, layout, wanted ? kGap + gives_up.columns : 0);
  }
  if (!gives_up_fits && layout.fits(gives_up)) layout.add(gives_up);
  if (!drop.noise.empty()) layout.add(paint(fmt::format("harmless: {}", drop.noise)));

  std::string text = std::move(layout).take();
  for (const std::string& frame : drop.stack) text += '\t' + paint(frame).bytes + '\n';
  if (drop.cause && !repeat) text += cause_text(*drop.cause, paint);
  return text + path_text(drop.path, paint, kIndent);
}

std::string TextSink::attempt(const AttemptReport& report) {
  const Painter paint(options_.color, false);
  std::string text = attempt_text(report, paint, options_.utc_offset_s);
  if (options_.paths) text += path_text(report.path, paint, kIndent);
  return text;
}

std::string TextSink::lost(std::int64_t time_ns,
                           const std::map<std::string, std::uint64_t>& causes) {
  std::uint64_t total = 0;
  for (const auto& [cause, count] : causes) total += count;

  const Painter paint(options_.color, false);
  Layout layout(clock_time(time_ns, options_, paint));
  layout.add(paint(fmt::format("droptrace lost {} record{} ({}): the log has gaps here", total,
                               total == 1 ? "" : "s", causes_text(causes)),
                   Style::kReason));
  return std::move(layout).take();
}

std::string TextSink::summary(std::int64_t, const Totals&) { return ""; }

}  // namespace droptrace

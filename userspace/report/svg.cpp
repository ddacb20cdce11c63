// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "report/document.h"
#include "sink/flow.h"
#include "sink/style.h"

namespace droptrace {

namespace {

constexpr int kWidth = 640;
constexpr std::size_t kPodsDrawn = 8;
constexpr std::size_t kDeathsListed = 4;

struct HookBox {
  const char* name;
  int x, y;
};
constexpr int kHookWidth = 130;
constexpr int kHookHeight = 46;
constexpr std::array kHooks = {HookBox{"prerouting", 30, 48}, HookBox{"forward", 255, 48},
                               HookBox{"postrouting", 480, 48}, HookBox{"input", 142, 128},
                               HookBox{"output", 367, 128}};

using Deaths = std::map<std::string, std::uint64_t>;

std::string text_at(int x, int y, std::string_view text, const char* attributes = "") {
  return fmt::format("<text x=\"{}\" y=\"{}\"{}>{}</text>\n", x, y, attributes, html_escaped(text));
}

std::string box(int x, int y, int width, int height, bool hit) {
  return fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n",
                     hit ? "hit" : "box", x, y, width, height);
}

std::string wire(std::string_view path) {
  return fmt::format("<path class=\"wire\" d=\"{}\"/>\n", path);
}

// Names that are too long lose their middle.
std::string fitted(const std::string& text, std::size_t columns) {
  const StyledText whole = escaped(text);
  return whole.columns <= columns ? text : shortened(whole.bytes, columns);
}

std::string death_text(const Deaths& deaths) {
  std::vector<std::pair<std::uint64_t, std::string>> sorted;
  for (const auto& [name, count] : deaths) sorted.emplace_back(count, name);
  std::ranges::stable_sort(sorted, std::greater{});
  std::string text;
  for (std::size_t i = 0; i < std::min(sorted.size(), kDeathsListed); ++i)
    text += fmt::format("{}✕ {} {}", i == 0 ? "" : "  ", sorted[i].first, sorted[i].second);
  return text;
}

// What is in the node besides its hooks: a pod or another namespace, and how it is connected.
struct Pod {
  std::string ifname;
  std::string node_link;
  Deaths deaths;
};

struct NodeView {
  Deaths hooks;   // of the node itself
  Deaths others;  // functions in the node
  std::map<std::string, Pod> pods;
};

std::pair<std::string, std::string> where_and_link(const std::string& text) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string::npos) return {text, ""};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

NodeView view_of(const ReportSource& source) {
  NodeView view;
  for (const auto& [key, station] : source.stations) {
    const auto [peer, peer_link] = where_and_link(station.peer);
    if (station.where != "node") {
      Pod& pod = view.pods[station.where.empty() ? "a namespace not known" : station.where];
      if (!station.ifname.empty()) pod.ifname = station.ifname;
      if (peer == "node") pod.node_link = peer_link;
      for (const auto& [name, count] : station.deaths) pod.deaths[name] += count;
      continue;
    }
    if (!peer.empty()) {
      Pod& pod = view.pods[peer];
      pod.ifname = peer_link;
      pod.node_link = station.ifname;
    }
    for (const auto& [name, count] : station.deaths) {
      const bool is_hook = name.ends_with(" hook");
      (is_hook ? view.hooks : view.others)[is_hook ? name.substr(0, name.size() - 5) : name] +=
          count;
    }
  }
  return view;
}

std::uint64_t total(const Deaths& deaths) {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : deaths) sum += count;
  return sum;
}

std::string hooks_svg(const NodeView& view) {
  std::string svg = wire("M160 71H255M385 71H480M95 94V151H142M497 151H545V94");
  for (const HookBox& hook : kHooks) {
    const auto found = view.hooks.find(hook.name);
    const bool hit = found != view.hooks.end();
    svg += box(hook.x, hook.y, kHookWidth, kHookHeight, hit);
    svg += text_at(hook.x + 10, hook.y + 19, hook.name);
    if (hit)
      svg +=
          text_at(hook.x + 10, hook.y + 37, fmt::format("✕ {}", found->second), " class=\"bad\"");
  }
  return svg;
}

std::string pods_svg(const NodeView& view, int top) {
  std::string svg;
  int y = top;
  std::size_t drawn = 0;
  // Those in which something died come first.
  std::vector<const std::pair<const std::string, Pod>*> pods;
  for (const auto& item : view.pods) pods.push_back(&item);
  std::ranges::stable_sort(pods, std::greater{},
                           [](const auto* item) { return total(item->second.deaths); });
  for (const auto* item : pods) {
    if (drawn++ == kPodsDrawn) break;
    const auto& [where, pod] = *item;
    svg += wire(fmt::format("M24 {}V{}H190", top - 14, y + 23));
    svg += text_at(32, y + 16, fitted(pod.node_link, 16), " class=\"dim\"");
    svg += box(190, y, kWidth - 210, 46, !pod.deaths.empty());
    svg += text_at(200, y + 19, fitted(where, 44) + (pod.ifname.empty() ? "" : "  " + pod.ifname));
    if (!pod.deaths.empty())
      svg += text_at(200, y + 37, fitted(death_text(pod.deaths), 44), " class=\"bad\"");
    y += 58;
  }
  if (view.pods.size() > kPodsDrawn)
    svg += text_at(190, y + 14, fmt::format("and {} more", view.pods.size() - kPodsDrawn),
                   " class=\"dim\"");
  return svg;
}

}  // namespace

std::string node_svg(const ReportSource& source) {
  const NodeView view = view_of(source);
  constexpr int kNodeBottom = 218;
  const int rows = static_cast<int>(std::min(view.pods.size(), kPodsDrawn));
  const int height = kNodeBottom + 14 + rows * 58 + (view.pods.size() > kPodsDrawn ? 24 : 0);
  const std::string& name = source.environment.node;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"The node and where packets died\">\n",
      kWidth, height);
  svg += box(4, 4, kWidth - 8, kNodeBottom - 4, false);
  svg += text_at(16, 28, fitted("node " + name, 70), " font-weight=\"600\"");
  svg += hooks_svg(view);
  if (!view.others.empty())
    svg += text_at(16, 204, fitted(death_text(view.others), 64), " class=\"bad\"");
  return svg + pods_svg(view, kNodeBottom + 14) + "</svg>\n";
}

std::vector<std::string> node_text(const ReportSource& source) {
  const NodeView view = view_of(source);
  const std::string& name = source.environment.node;
  std::vector<std::string> lines = {name.empty() ? "node" : "node " + name};
  for (const HookBox& hook : kHooks) {
    const auto found = view.hooks.find(hook.name);
    lines.push_back(fmt::format(
        "  {:<12}{}", hook.name,
        found == view.hooks.end() ? std::string("·") : fmt::format("✕ {}", found->second)));
  }
  if (!view.others.empty()) lines.push_back("  " + death_text(view.others));
  std::size_t listed = 0;
  for (const auto& [where, pod] : view.pods) {
    if (listed++ == kPodsDrawn) break;
    lines.push_back(fmt::format("  {} ⇄ {} {}  {}", pod.node_link.empty() ? "?" : pod.node_link,
                                where, pod.ifname, death_text(pod.deaths)));
  }
  if (view.pods.size() > kPodsDrawn)
    lines.push_back(fmt::format("  and {} more", view.pods.size() - kPodsDrawn));
  return lines;
}

std::string timeline_svg(const Timeline& timeline) {
  constexpr int kHeight = 150;
  constexpr int kBase = 122;
  constexpr int kTop = 26;
  const auto& buckets = timeline.buckets();
  std::uint64_t highest = 1;
  for (const OutcomeCounts& counts : buckets)
    highest = std::max(highest, counts[0] + counts[1] + counts[2]);
  const double width = static_cast<double>(kWidth) / static_cast<double>(buckets.size());
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Packets over time\">\n",
                  kWidth, kHeight);
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    double y = kBase;
    for (const AttemptOutcome outcome :
         {AttemptOutcome::kDropped, AttemptOutcome::kRejected, AttemptOutcome::kUnanswered}) {
      const std::uint64_t count = buckets[i][static_cast<std::size_t>(outcome)];
      if (count == 0) continue;
      const double size =
          std::max(1.0, (kBase - kTop) * static_cast<double>(count) / static_cast<double>(highest));
      y -= size;
      svg += fmt::format(
          "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
          to_string(outcome), static_cast<double>(i) * width, y, std::max(width - 1, 1.0), size);
    }
  }
  svg += wire(fmt::format("M0 {}H{}", kBase, kWidth));
  svg += text_at(0, kBase + 20, utc_text(timeline.start_ns()), " class=\"dim\"");
  const std::int64_t range = timeline.bucket_ns() * static_cast<std::int64_t>(buckets.size());
  svg +=
      text_at(kWidth, kBase + 20, "+" + duration_text(range), " class=\"dim\" text-anchor=\"end\"");
  svg += text_at(0, 14,
                 fmt::format("{} packet{} in {} at most", highest, highest == 1 ? "" : "s",
                             duration_text(timeline.bucket_ns())),
                 " class=\"dim\"");
  int x = kWidth - 310;
  for (const AttemptOutcome outcome :
       {AttemptOutcome::kDropped, AttemptOutcome::kRejected, AttemptOutcome::kUnanswered}) {
    svg += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"4\" width=\"10\" height=\"10\"/>\n",
                       to_string(outcome), x);
    svg += text_at(x + 14, 14, to_string(outcome), " class=\"dim\"");
    x += 95;
  }
  return svg + "</svg>\n";
}

std::string timeline_text(const Timeline& timeline) {
  static constexpr const char* kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::uint64_t highest = 1;
  for (const OutcomeCounts& counts : timeline.buckets())
    highest = std::max(highest, counts[0] + counts[1] + counts[2]);
  std::string text;
  for (const OutcomeCounts& counts : timeline.buckets()) {
    const std::uint64_t sum = counts[0] + counts[1] + counts[2];
    text += kBars[sum == 0 ? 0 : 1 + (sum - 1) * (std::size(kBars) - 1) / highest];
  }
  return text + fmt::format("  {} each, {} at most", duration_text(timeline.bucket_ns()), highest);
}

}  // namespace droptrace

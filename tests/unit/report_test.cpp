// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "report/diff.h"
#include "report/document.h"
#include "report/report_event.h"
#include "report/summary.h"
#include "tests/support/recording.h"
#include "tests/support/sample_drops.h"

namespace droptrace {
namespace {

ReportEvent seen(const Drop& drop) {
  const RecordedEvent event = event_of(drop);
  return report_event(event.time_ns, event.json).value();
}

Environment node(std::string name) {
  Environment environment = sample_environment();
  environment.node = std::move(name);
  return environment;
}

void begin(Summary& summary, std::string name) {
  summary.begin_source(name + ".pcapng");
  summary.add(recorded_line(0, environment_line(node(std::move(name)))));
}

Summary summary_of(const std::vector<Drop>& drops) {
  Summary summary;
  begin(summary, "kind-worker");
  for (const Drop& drop : drops) summary.add(event_of(drop));
  return summary;
}

std::uint64_t count(const OutcomeCounts& counts, AttemptOutcome outcome) {
  return counts[static_cast<std::size_t>(outcome)];
}

// A line that knows the cause, as later versions write it.
RecordedEvent with_cause(RecordedEvent event, const std::string& cause) {
  event.json.pop_back();
  event.json += R"(,"cause":")" + cause +
                R"(","explanation":"a policy forbids it","advice":"kubectl edit networkpolicy"})";
  return event;
}

TEST_CASE("an event says who dialled whom, before NAT and after") {
  const ReportEvent event = seen(named_syn(1, 0).build());
  CHECK(event.client == "data-platform/web-7f");
  CHECK(event.service == "data-platform/iceberg-rest:http");
  CHECK(event.endpoint == "data-platform/iceberg-0:8181");
  CHECK(event.dialled == "10.96.12.7:8181");
  CHECK(event.is_attempt);
  CHECK(event.syn == 1u);
}

TEST_CASE("an answer is told as the conversation of its client") {
  const ReportEvent event = seen(sample_tcp()[2]);  // a SYN-ACK on its way back
  CHECK(event.client == "10.244.0.5");
  CHECK(event.dialled == "10.96.100.10:80");
  CHECK_FALSE(event.is_attempt);
}

TEST_CASE("lines about no packet are no events") {
  CHECK_FALSE(report_event(0, R"({"schema":1,"type":"lost","causes":{}})"));
  CHECK_FALSE(report_event(0, "[]"));
  CHECK_FALSE(report_event(0, "no json"));
}

TEST_CASE("the SYNs of an attempt are one attempt of one pair and one group") {
  const Summary summary = summary_of(sample_attempt());
  CHECK(summary.events() == 4);
  CHECK(summary.attempts() == 1);
  CHECK(count(summary.outcomes(), AttemptOutcome::kDropped) == 1);
  REQUIRE(summary.groups().size() == 1);
  CHECK(summary.groups()[0].events == 4);
  REQUIRE(summary.pairs().size() == 1);
  CHECK(summary.pairs()[0].attempts == 1);
  REQUIRE(summary.worst_attempts(5).size() == 1);
  CHECK(summary.worst_attempts(5)[0]->notes.size() == 4);
}

TEST_CASE("a SYN dropped on one node and its retransmission on another are one attempt") {
  // The client's node knows the service, the server's only the packet after NAT.
  Drop here = service_syn(1, 0).service("default/web:http").build();
  Drop there = service_syn(2, 1'000).build();
  there.record.conntrack.reset();
  for (const bool server_first : {false, true}) {
    Summary summary;
    begin(summary, server_first ? "server" : "client");
    summary.add(event_of(server_first ? there : here));
    begin(summary, server_first ? "client" : "server");
    summary.add(event_of(server_first ? here : there));
    CHECK(summary.attempts() == 1);
    const auto pairs = summary.top_pairs(5);
    CHECK(pairs.front()->service == "default/web:http");
    CHECK(pairs.front()->attempts == 1);
    CHECK(summary.worst_attempts(1)[0]->syns == 2);
  }
}

TEST_CASE("what knows more of an attempt's end counts, in any order") {
  RecordedEvent dropped = event_of(sample_attempt().front());
  RecordedEvent answered = dropped;
  answered.json.replace(answered.json.find("\"drop\""), 6, "\"answered\"");
  RecordedEvent unanswered = dropped;
  unanswered.json.replace(unanswered.json.find("\"drop\""), 6, "\"unanswered\"");
  Summary summary;
  for (const auto* event : {&unanswered, &answered, &dropped}) summary.add(*event);
  CHECK(summary.attempts() == 1);
  CHECK(count(summary.outcomes(), AttemptOutcome::kAnswered) == 1);
  CHECK(count(summary.outcomes(), AttemptOutcome::kDropped) == 0);
  CHECK(summary.events() == 2);
}

TEST_CASE("an attempt without answer or drop is placed where it was seen last") {
  RecordedEvent event;
  event.has_packet = true;
  event.json =
      R"({"schema":1,"type":"unanswered","packet":{"l3":"ipv4","length":60,"src":"10.244.0.5",)"
      R"("dst":"10.244.0.6","proto":"tcp","sport":40000,"dport":80,"tcp_flags":"S","seq":1},)"
      R"("path":[{"event":"xmit","where":"node","ifname":"eth0"}]})";
  Summary summary;
  summary.add(event);
  CHECK(count(summary.outcomes(), AttemptOutcome::kUnanswered) == 1);
  REQUIRE(summary.groups().size() == 1);
  CHECK(summary.groups()[0].name() == "unanswered");
  CHECK(verdict_of(summary) ==
        "The only connection attempt that was seen died in node: unanswered (no drop seen).");
  CHECK(to_markdown(report_document(summary)).find("1 no drop seen") != std::string::npos);
}

TEST_CASE("events with a cause are one group, whatever place they have") {
  Summary summary;
  summary.add(with_cause(event_of(service_syn(1, 0).build()), "network-policy"));
  summary.add(
      with_cause(event_of(service_syn(2, 0).in_netns(1, "pod:a/b").build()), "network-policy"));
  REQUIRE(summary.groups().size() == 1);
  CHECK(summary.groups()[0].name() == "network-policy");
  CHECK(summary.groups()[0].places.size() == 2);
  const std::string text = to_markdown(report_document(summary));
  CHECK(text.find("kubectl edit networkpolicy") != std::string::npos);
  CHECK(text.find("a policy forbids it") != std::string::npos);
}

TEST_CASE("the verdict says what dies, where, by which rule and how sure that is") {
  const Summary summary = summary_of({forwarded_syn()
                                          .policy(NfFamily::kIp, chain_facts("filter", "FORWARD"))
                                          .attempt(attempt_state(1, 0))
                                          .build()});
  CHECK(verdict_of(summary) ==
        "The only connection attempt that was seen died in the forward hook of node kind-worker, "
        "by policy of ip filter FORWARD: NETFILTER_DROP (observed in the kernel).");
  CHECK(verdict_of(Summary()) == "No drop was seen.");
}

TEST_CASE("the timeline keeps every event in bounded room, in any order of time") {
  Timeline timeline;
  const std::int64_t day = 86'400'000'000'000;
  for (const std::int64_t time : {5 * day, 5 * day + 1, 4 * day, 6 * day, std::int64_t{-1},
                                  std::numeric_limits<std::int64_t>::max(), std::int64_t{0}})
    timeline.add(time, AttemptOutcome::kDropped);
  std::uint64_t events = 0;
  for (const OutcomeCounts& counts : timeline.buckets())
    events += count(counts, AttemptOutcome::kDropped);
  CHECK(events == 7);
  CHECK(timeline.buckets().size() <= Timeline::kBuckets);
}

TEST_CASE("nothing from outside is obeyed by HTML or Markdown") {
  Drop drop = hostile_drop();
  drop.where = "<script>alert(1)</script>|`x`\"'";
  const ReportDocument document = report_document(summary_of({drop}));
  const std::string html = to_html(document);
  CHECK(html.find("<script") == std::string::npos);
  CHECK(html.find('\x1b') == std::string::npos);
  const std::string markdown = to_markdown(document);
  CHECK(markdown.find("\\<script\\>") != std::string::npos);
  CHECK(markdown.find("\\|\\`x\\`") != std::string::npos);
  CHECK(markdown.find('\x1b') == std::string::npos);
}

TEST_CASE("HTML asks for nothing outside the file") {
  const std::string html = to_html(report_document(summary_of(sample_drops())));
  for (const char* outside : {"http:", "https:", "src=", "@import", "url("})
    CHECK(html.find(outside) == std::string::npos);
}

TEST_CASE("the JSON report has the figures of the summary") {
  const std::string json = report_json(summary_of(sample_attempt()));
  CHECK(json_field(json, "type") == "report");
  CHECK(json_field(json, "attempts") == "1");
  CHECK(json_field(json, "outcomes.dropped") == "1");
}

TEST_CASE("a diff tells what is new, gone, and changed in rate") {
  const auto many = [](std::string reason, int events, std::int64_t each_ms) {
    std::vector<Drop> drops;
    for (int i = 0; i < events; ++i)
      drops.push_back(DropBuilder(PacketBuilder().ipv4("10.0.0.1", "10.0.0.2").udp(1, 2))
                          .after_ms(i * each_ms)
                          .why(reason, "f+0x1")
                          .build());
    return drops;
  };
  std::vector<Drop> before = many("GONE", 3, 10);
  std::ranges::copy(many("SAME", 61, 1000), std::back_inserter(before));
  std::ranges::copy(many("MORE", 10, 6000), std::back_inserter(before));
  std::vector<Drop> after = many("NEW", 2, 10);
  std::ranges::copy(many("SAME", 61, 1000), std::back_inserter(after));
  std::ranges::copy(many("MORE", 40, 1500), std::back_inserter(after));
  const Summary then = summary_of(before);
  const Summary now = summary_of(after);
  const Diff diff = compare(then, now);
  REQUIRE(diff.rows.size() == 4);
  CHECK(diff.has_new());
  CHECK(diff.rows[0].group->name() == "NEW");
  CHECK(diff.rows[1].group->name() == "MORE");
  CHECK(diff.rows[2].group->name() == "GONE");
  CHECK(diff.rows[3].change == Change::kSame);
  CHECK(diff_text(diff).find("1 new, 1 more frequent, 0 less frequent, 1 gone, 1 the same.") !=
        std::string::npos);
  CHECK_FALSE(compare(then, then).has_new());
  CHECK(json_field(diff_json(diff), "type") == "diff");
  CHECK(to_markdown(diff_document(diff)).find("| new | NEW |") != std::string::npos);
}

}  // namespace
}  // namespace droptrace

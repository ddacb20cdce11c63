// SPDX-License-Identifier: GPL-2.0-only
#include "report/metrics.h"

#include <string>

#include <doctest/doctest.h>

#include "core/http_request.h"
#include "tests/support/recording.h"
#include "tests/support/sample_drops.h"

namespace droptrace {
namespace {

ReportEvent seen(const Drop& drop) {
  const RecordedEvent event = event_of(drop);
  return report_event(event.time_ns, event.json).value();
}

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST_CASE("drops are counted by reason, hook and classes of address") {
  Metrics metrics;
  for (const Drop& drop : sample_attempt()) metrics.add(seen(drop));
  const std::string text = metrics.text({});
  CHECK(has(text,
            "droptrace_drops_total{reason=\"NETFILTER_DROP\",cause=\"\",hook=\"forward\","
            "direction=\"pod_to_pod\"} 4"));
  CHECK(text.find("10.244") == std::string::npos);
}

TEST_CASE("an attempt counts once, by what was known of it first") {
  Metrics metrics;
  for (const Drop& drop : sample_attempt()) metrics.add(seen(drop));
  metrics.add(seen(service_syn(1, 0).answer("rst").build()));
  ReportEvent unanswered = seen(sample_attempt().front());
  unanswered.outcome = AttemptOutcome::kUnanswered;
  metrics.add(unanswered);
  const std::string text = metrics.text({});
  CHECK(has(text, "droptrace_syn_attempts_total{outcome=\"dropped\"} 1"));
  CHECK(has(text, "droptrace_syn_attempts_total{outcome=\"rejected\"} 1"));
  CHECK(has(text, "droptrace_syn_attempts_total{outcome=\"unanswered\"} 1"));
  CHECK(has(text, "droptrace_syn_attempts_total{outcome=\"answered\"} 0"));
}

TEST_CASE("the figures of the moment are told") {
  MetricsNow now;
  now.totals.seen = 7;
  now.totals.lost = {{"ring_buffer_full", 3}};
  now.totals.programs = {{"dt_drop", "attached"}, {"dt_xt_prime", "run on demand"}};
  now.ring_bytes = 4096;
  now.version = "1\"2";
  const std::string text = Metrics().text(now);
  CHECK(has(text, "droptrace_seen_total 7"));
  CHECK(has(text, "droptrace_lost_records_total{why=\"ring_buffer_full\"} 3"));
  CHECK(has(text, "droptrace_lost_records_total{why=\"malformed\"} 0"));
  CHECK(has(text, "droptrace_program_attached{program=\"dt_drop\"} 1"));
  CHECK(has(text, "droptrace_program_attached{program=\"dt_xt_prime\"} 0"));
  CHECK(has(text, "droptrace_build_info{version=\"1\\\"2\"} 1"));
}

TEST_CASE("labels stay within bounds") {
  Metrics metrics;
  ReportEvent event = seen(sample_attempt().front());
  for (int i = 0; i < 10'000; ++i) {
    event.reason = "R" + std::to_string(i);
    metrics.add(event);
  }
  const std::string text = metrics.text({});
  CHECK(text.size() < 100'000);
  CHECK(text.find("reason=\"other\"") != std::string::npos);
}

TEST_CASE("requests are answered when they are whole, and only for the metrics") {
  const auto status = [](std::string_view request) {
    const auto answer = http_answer(request, "page");
    return answer ? answer->substr(9, 3) : "none";
  };
  CHECK(status("GET /metrics HTTP/1.1\r\nHost: a\r\n") == "none");
  CHECK(status("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") == "200");
  CHECK(status("GET /metrics?x=1 HTTP/1.0\n\n") == "200");
  CHECK(status("GET / HTTP/1.1\r\n\r\n") == "404");
  CHECK(status("POST /metrics HTTP/1.1\r\n\r\n") == "405");
  CHECK(status("hello\r\n\r\n") == "400");
  CHECK(status("GET /metrics SPDY\r\n\r\n") == "400");
  CHECK(status("\r\n\r\n") == "400");
  CHECK(status(std::string(kHttpRequestMost, 'x')) == "431");
  CHECK(http_answer("HEAD /metrics HTTP/1.1\r\n\r\n", "page")->ends_with("\r\n\r\n"));
  CHECK(http_answer("GET /metrics HTTP/1.1\r\n\r\n", "page")->ends_with("\r\n\r\npage"));
}

}  // namespace
}  // namespace droptrace

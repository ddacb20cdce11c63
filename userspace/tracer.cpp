// SPDX-License-Identifier: GPL-2.0-only
#include "tracer.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <set>
#include <span>
#include <string>

#include <fmt/format.h>

#include "core/decode.h"
#include "evidence.h"
#include "kernel/bpf_object.h"
#include "kernel/child.h"
#include "kernel/clock.h"
#include "kernel/entry_test.h"
#include "kernel/error.h"
#include "kernel/event_loop.h"
#include "kernel/kernel_symbols.h"
#include "kernel/lookups.h"
#include "kernel/node_scope.h"
#include "kernel/output.h"
#include "kernel/self_test.h"
#include "kernel/world_loader.h"
#include "path_log.h"
#include "pipeline.h"
#include "setup.h"
#include "sink/style.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kHousekeepingNs = 500 * kMs;  // a new namespace is found within this time
constexpr std::uint64_t kSettleNs = 50 * kMs;  // from an event to the change that it announces
constexpr std::uint64_t kPollNs = 10 * kMs;    // how often the ring is drained while it is busy
constexpr int kQuietPolls = 10;                // so many empty rounds end the polling
constexpr std::size_t kRoundRecords = 4096;    // then signals and timers get their turn

class Tracer {
 public:
  Tracer(const Options& options, Guest* guest);
  int run();

 private:
  void attach();
  void prepare_attribution();
  std::string note_engines(const EngineReport& report);
  void prepare_rule_tracing(bool rules_are_named);
  void print_header() const;
  void status(const std::string& line) const;
  void sync_namespaces();
  void refresh_world();
  void on_signal(int signal);
  void on_records();
  void on_poll();
  void housekeep();
  std::size_t drain();
  void handle_record(std::span<const std::byte> bytes);
  void flush_waiting(bool all);
  void step_guest();
  void judge_attempts(bool all);
  void report_losses();
  void write(const std::string& text);
  void end();
  void close();
  int exit_status() const;

  const Options& options_;
  Guest* guest_;
  ClusterNetworks networks_;
  KernelTypes types_;
  std::future<KernelSymbols> symbols_;  // takes as long as loading the programs: meanwhile
  std::set<std::uint32_t> chosen_netns_;
  EventLoop loop_;
  WorldLoader world_;
  NodeScope scope_;
  Pipeline pipeline_;
  WatchMaps watch_maps_;
  PathLog::Loading path_loading_;  // as long as the programs of bpf_, too
  BpfObject bpf_;
  Lookups lookups_;
  std::unique_ptr<VerdictHook> hook_;
  Evidence evidence_;
  PathLog path_log_;
  Output output_{STDOUT_FILENO, "standard output"};
  EventLoop::Timer poll_timer_;
  EventLoop::Timer settle_timer_;
  std::optional<Child> child_;
  std::optional<int> child_status_;
  std::set<std::uint32_t> watched_;
  std::uint64_t malformed_ = 0;
  int quiet_polls_ = 0;
};

Tracer::Tracer(const Options& options, Guest* guest)
    : options_(options),
      guest_(guest),
      networks_(cluster_networks(options)),
      types_(types_with_privileges()),
      symbols_(std::async(std::launch::async, read_kernel_symbols)),
      chosen_netns_(resolve_all(options.netns)),
      world_(networks_.service, networks_.pod, options.netns, options.names),
      scope_(all_cidrs(networks_)),
      pipeline_(options, guest ? guest->make_sink() : make_sink(options),
                DropReasons(types_.drop_reason_enums)),
      path_loading_(options.paths
                        ? PathLog::begin(watch_maps_, bpf_options(options, scope_, types_), types_)
                        : PathLog::Loading()),
      bpf_(watch_maps_, bpf_options(options, scope_, types_), pipeline_.reasons()),
      lookups_(loop_, bpf_, options.names),
      evidence_(options, [this](const std::string& line) { status(line); }),
      path_log_(options.unanswered_after_ns),
      poll_timer_(loop_.add_timer([this] { on_poll(); })),
      settle_timer_(loop_.add_timer([this] { refresh_world(); })) {}

void Tracer::status(const std::string& line) const {
  if (options_.verbosity >= 0) fmt::print(stderr, "droptrace: {}\n", escaped(line).bytes);
}

int Tracer::run() {
  loop_.watch_signals([this](int signal) { on_signal(signal); });
  attach();
  // The programs run already: the ring holds what comes while we learn to name it.
  auto symbols = symbols_.get();
  if (symbols.problem) status("no symbol names: " + *symbols.problem);
  pipeline_.use_symbols(std::move(symbols.symbols));
  prepare_attribution();
  announce_ready(options_.ready_file);
  if (!options_.command.empty()) child_.emplace(options_.command);
  if (const std::string kubeconfig = kubeconfig_of(options_); !kubeconfig.empty())
    lookups_.ask_api(kubeconfig, [this](const std::string& problem) {
      if (options_.verbosity > 0 || !options_.kubeconfig.empty()) status(problem);
    });
  ::malloc_trim(0);  // BTF and kallsyms took several times what is kept of them

  loop_.watch(bpf_.epoll_fd(), [this] { on_records(); });
  loop_.watch(world_.event_fd(), [this] {
    world_.on_event();
    settle_timer_.start_once(kSettleNs);
  });
  if (path_log_.hooks()) loop_.watch(path_log_.hooks()->epoll_fd(), [this] { path_log_.drain(); });
  loop_.add_timer([this] { housekeep(); }).start_periodic(kHousekeepingNs);
  if (guest_) loop_.add_timer([this] { step_guest(); }).start_periodic(kPollNs);
  if (options_.duration_ns) loop_.add_timer([this] { end(); }).start_once(*options_.duration_ns);
  loop_.run();
  close();
  return exit_status();
}

void Tracer::attach() {
  pipeline_.set_realtime_offset(realtime_offset_ns());
  refresh_world();
  evidence_.serve(loop_, [this] { return metrics_now(options_, pipeline_.totals(), bpf_); });
  evidence_.start(pipeline_, header_of(environment_line(environment(options_, networks_))));
  bpf_.attach();
  if (options_.paths) {
    const auto problem = path_log_.use(std::move(path_loading_), bpf_);
    if (problem) status("connection attempts are not followed: " + *problem);
    pipeline_.use_paths(&path_log_.paths());
  }
  print_header();
}

void Tracer::print_header() const {
  if (options_.verbosity < 0) return;
  const std::string scope = options_.all_netns ? "all network namespaces of this kernel"
                                               : describe_watched(watched_, scope_.hosts());
  if (options_.all)
    status(fmt::format("watching {}, every drop", scope));
  else
    status(fmt::format("watching {}, drops that touch a service or pod address", scope));
  status(fmt::format("service CIDR {}, pod CIDR {}", describe(networks_.service),
                     describe(networks_.pod)));
  if (!types_.kfree_skb_has_reason)
    status("this kernel gives no drop reasons (they came with Linux 5.17): reading NO_REASON");
  if (const auto problem = world_.problem()) status(*problem);
  if (const std::size_t skipped = world_.skipped_files())
    status(fmt::format("{} file{} about pods cannot be used (too big, malformed or too many)",
                       skipped, skipped == 1 ? "" : "s"));
  if (options_.verbosity > 0) {
    const auto world = world_.world();
    for (const auto& [inum, netns] : world->namespaces)
      status(
          fmt::format("  {} is {} with {} links", inum, world->where(inum), netns->links.size()));
    for (const auto& [program, state] : bpf_.programs())
      status(fmt::format("  program {}: {}", program, state));
  }
}

void Tracer::prepare_attribution() {
  // Handling a record may lead into its namespace, and home again: not from within the tests'.
  std::vector<std::vector<std::byte>> later;
  const OtherRecords keep = [&](std::span<const std::byte> bytes) {
    later.emplace_back(bytes.begin(), bytes.end());
  };
  auto report = test_engines(bpf_, pipeline_.symbols(), types_, keep);
  const auto entries = test_entries(bpf_, pipeline_.symbols(), keep);
  for (const auto& bytes : later) handle_record(bytes);
  pipeline_.set_nft_frees(report.nft_frees);
  const std::string refusals = note_engines(report);
  if (report.engine.empty())
    status("nf_tables rules are not named: " +
           (refusals.empty() ? "no engine was asked" : refusals));
  if (!entries.known) status("drops by other parts of netfilter are not named: " + entries.refusal);
  if (options_.verbosity > 0) {
    status(fmt::format("  self-test: {} ({:.0f} ms){}{}", describe_engine(report.engine),
                       report.duration_ms, refusals.empty() ? "" : "; ", refusals));
    status(fmt::format(
        "  self-test: {} ({:.0f} ms)",
        entries.known ? "hook functions are read off nf_hook_slow's frame" : "no hook functions",
        entries.duration_ms));
  }
  hook_ = std::move(report.hook);
  lookups_.prepare(world_.world()->own_netns, world_.live(), types_.has_conntrack);
  prepare_rule_tracing(!report.engine.empty());
}

// What each engine has said goes into the summary. Returns why some cannot be used.
std::string Tracer::note_engines(const EngineReport& report) {
  std::string refusals;
  for (const auto& [engine, why] : report.refusals) {
    bpf_.set_state("engine " + engine, why);
    refusals += fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", engine, why);
  }
  if (!report.engine.empty()) bpf_.set_state("engine " + report.engine, "attached");
  return refusals;
}

void Tracer::prepare_rule_tracing(bool rules_are_named) {
  RuleTracer& rule_tracer = lookups_.tracer();
  rule_tracer.report_to([this](const std::string& line) { status(line); });
  if (options_.allow_system_changes && engine_allowed("trace")) {
    TraceScope scope{networks_.service.cidrs, options_.syn_only};
    scope.cidrs.insert(scope.cidrs.end(), networks_.pod.cidrs.begin(), networks_.pod.cidrs.end());
    rule_tracer.allow(std::move(scope));
  }
  rule_tracer.find_left_overs(world_.live());
  const std::uint32_t own = world_.world()->own_netns;
  if (!rules_are_named && watched_.contains(own)) rule_tracer.start(own, world_.live());
}

void Tracer::sync_namespaces() {
  const auto wanted = wanted_namespaces(options_, chosen_netns_, world_.live(), scope_.hosts());
  for (const auto& [inum, watch] : wanted) {
    if (watched_.contains(inum)) continue;
    if (!watch_maps_.watch_netns(inum, watch))
      status(fmt::format("too many network namespaces: {} is not watched", inum));
    watched_.insert(inum);  // said once
  }
  std::erase_if(watched_, [&](std::uint32_t inum) {
    if (wanted.contains(inum)) return false;
    watch_maps_.unwatch_netns(inum);
    return true;
  });
}

void Tracer::refresh_world() {
  world_.refresh(boot_ns());
  scope_.refresh(watch_maps_, bpf_, world_);
  sync_namespaces();
}

void Tracer::on_signal(int signal) {
  if (signal != SIGCHLD) {
    end();
  } else if (child_) {
    child_status_ = child_->poll();
    if (child_status_) end();
  }
}

void Tracer::on_records() {
  bpf_.set_polling(true);
  quiet_polls_ = 0;
  poll_timer_.start_periodic(kPollNs);
  drain();
}

void Tracer::on_poll() {
  if (drain() > 0) {
    quiet_polls_ = 0;
  } else if (++quiet_polls_ >= kQuietPolls) {
    poll_timer_.stop();
    bpf_.set_polling(false);
    drain();  // a record that was reserved before the kernel side saw the change woke nobody
  }
}

void Tracer::housekeep() {
  // The wall clock may be stepped or slewed while we run.
  pipeline_.set_realtime_offset(realtime_offset_ns());
  drain();
  judge_attempts(false);
  refresh_world();
  lookups_.housekeep(world_.live());
  report_losses();
}

std::size_t Tracer::drain() {
  const std::size_t count = bpf_.consume(
      [this](std::span<const std::byte> bytes) { handle_record(bytes); }, kRoundRecords);
  flush_waiting(false);
  return count;
}

void Tracer::handle_record(std::span<const std::byte> bytes) {
  auto record = decode_drop(bytes);
  if (!record) {
    ++malformed_;
    return;
  }
  const auto world = world_.world();
  if (record->netns && record->ifindex && !world->link(*record->netns, *record->ifindex))
    world_.mark_stale(*record->netns);
  lookups_.add(std::move(*record), *world, world_.live(), pipeline_.symbols());
}

void Tracer::flush_waiting(bool all) {
  if (pipeline_.complete()) return;
  path_log_.drain();
  lookups_.share_names(world_);
  lookups_.flush(boot_ns(), all, world_.live(), [this](Record record) {
    write(pipeline_.add(std::move(record), *world_.world()));
    return !pipeline_.complete();
  });
  if (!evidence_.flush() || pipeline_.complete()) end();
}

void Tracer::step_guest() {
  drain();
  path_log_.drain();
  lookups_.share_names(world_);
  if (guest_->step(*world_.world(), world_.live(), path_log_)) end();
}

void Tracer::judge_attempts(bool all) {
  path_log_.drain();
  const auto now_ns = boot_ns();
  for (const auto& [attempt, change] : path_log_.judge(now_ns, all, world_.live()))
    write(pipeline_.add_attempt(attempt, *world_.world(), change ? &*change : nullptr));
}

void Tracer::report_losses() {
  auto lost = bpf_.counters().lost;
  path_log_.add_losses(lost);
  if (malformed_ > 0) lost["malformed"] = malformed_;
  write(pipeline_.report_lost(clock_ns(CLOCK_REALTIME), lost));
}

void Tracer::write(const std::string& text) {
  if (options_.write == "-") return;  // standard output is the recording's
  if (!output_.write(text)) end();
}

void Tracer::end() { loop_.stop(); }

void Tracer::close() {
  while (drain() == kRoundRecords) {
  }
  flush_waiting(true);
  judge_attempts(true);
  report_losses();
  write(pipeline_.finish(clock_ns(CLOCK_REALTIME), bpf_.programs()));
  evidence_.finish(clock_ns(CLOCK_REALTIME), pipeline_.totals());
  status(closing_line(pipeline_.totals()));
  if (const auto overruns = lookups_.tracer().overruns())
    status(fmt::format("trace messages were lost {} times: rules may be missing", overruns));
  if (options_.verbosity > 0 && lookups_.skipped() > 0)
    status(fmt::format("{} connections were not looked up in conntrack (500 a second at most)",
                       lookups_.skipped()));
  if (const auto services = lookups_.services(); services && options_.verbosity > 0)
    status(fmt::format("{} services known; {} of their rules were not understood",
                       services->all().size(), services->passed_over()));
}

int Tracer::exit_status() const {
  if (evidence_.failed()) return kExitFailed;
  if (const auto disappointment = pipeline_.disappointment()) {
    status(std::string(*disappointment));
    return kExitExpectation;
  }
  return child_status_.value_or(kExitDone);
}

}  // namespace

int trace(const Options& options, Guest* guest) {
  ::mallopt(M_ARENA_MAX, 1);  // only from the main arena is memory given back well
  log_libbpf(options.verbosity > 0);
  return Tracer(options, guest).run();
}

}  // namespace droptrace

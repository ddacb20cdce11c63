// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/bpf_object.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "droptrace_bpf.skel.h"

#include "kernel/error.h"
#include "kernel/privileges.h"

namespace droptrace {

namespace {

constexpr int kPrimeTries = 5;

int print_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
  return level == LIBBPF_DEBUG ? 0 : std::vfprintf(stderr, format, arguments);
}

void configure(dt_config& config, const BpfOptions& options, const DropReasons& reasons) {
  config.snaplen = options.snaplen;
  config.filter_netns = options.filter_netns ? 1 : 0;
  config.filter_cidrs = options.filter_cidrs ? 1 : 0;
  config.stack_always = options.stack_always ? 1 : 0;
  config.note_nat = options.note_nat ? 1 : 0;
  config.note_answers = options.note_icmp || options.note_resets ? 1 : 0;
  config.one_cpu = libbpf_num_possible_cpus() == 1 ? 1 : 0;
  config.wakeup_bytes = options.ring_bytes / 4;
  if (const auto consumed = reasons.value("SKB_CONSUMED")) {
    config.has_consumed = 1;
    config.reason_consumed = *consumed;
  }
  config.reason_netfilter = reasons.value("NETFILTER_DROP").value_or(UINT32_MAX);
  config.reason_unspecified = reasons.value("NOT_SPECIFIED").value_or(UINT32_MAX);
}

// What has become of a program once all that can be have been attached.
const char* state_of(const bpf_program* program) {
  if (!bpf_program__autoload(program)) return "not used";
  // A section without a tracepoint's name is for bpf_prog_test_run().
  const std::string_view section = bpf_program__section_name(program);
  if (section == "raw_tp") return "run on demand";
  return bpf_program__autoattach(program) ? "attached" : "used by the self-test";
}

// Runs a program of type raw_tp once, on a given CPU or on this one. Returns what it returned, or
// -1 with errno.
int run_program(const bpf_program* program, std::span<std::uint64_t> arguments,
                std::optional<std::uint32_t> cpu) {
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.ctx_in = arguments.data();
  run.ctx_size_in = static_cast<std::uint32_t>(arguments.size_bytes());
  run.flags = cpu ? BPF_F_TEST_RUN_ON_CPU : 0;
  run.cpu = cpu.value_or(0);
  if (bpf_prog_test_run_opts(bpf_program__fd(program), &run) != 0) return -1;
  return static_cast<int>(run.retval);
}

}  // namespace

struct BpfObject::State {
  droptrace_bpf* skeleton = nullptr;
  std::unique_ptr<RecordRing> ring;
  bpf_program* drop_program = nullptr;
  bpf_link* company = nullptr;

  ~State() {
    bpf_link__destroy(company);
    droptrace_bpf__destroy(skeleton);
  }
};

void log_libbpf(bool wanted) { libbpf_set_print(wanted ? print_libbpf : nullptr); }

BpfObject::BpfObject(const WatchMaps& maps, const BpfOptions& options, const DropReasons& reasons)
    : state_(std::make_unique<State>()) {
  int error = load(maps, options, reasons);
  if (error != 0) {
    // What is optional may cost a field, but not the run.
    BpfOptions minimal = options;
    minimal.note_nat = minimal.note_icmp = minimal.note_resets = false;
    minimal.xt_tables = minimal.peers = false;
    const int first_error = error;
    error = load(maps, minimal, reasons);
    if (error == 0) {
      for (const char* optional : {"dt_note_nat", "dt_note_icmp", "dt_note_reset", "dt_find_peer",
                                   "dt_xt_list", "dt_xt_prime"})
        programs_[optional] = "cannot be loaded: " + errno_text(first_error);
    }
  }
  if (error != 0) refuse_bpf("load the BPF programs", error);

  for (const WatchedPrefix& prefix : options.prefixes) {
    if (!maps.watch_prefix(prefix)) refuse_bpf("watch CIDR " + to_string(prefix.cidr), errno);
  }
  state_->ring = RecordRing::open(bpf_map__fd(state_->skeleton->maps.dt_records));
  if (!state_->ring) refuse_bpf("map the ring buffer", errno);
}

BpfObject::~BpfObject() = default;

int BpfObject::load(const WatchMaps& maps, const BpfOptions& options, const DropReasons& reasons) {
  droptrace_bpf__destroy(std::exchange(state_->skeleton, droptrace_bpf__open()));
  if (!state_->skeleton) return errno;
  droptrace_bpf& skeleton = *state_->skeleton;
  configure(skeleton.rodata->dt_config, options, reasons);
  state_->drop_program =
      options.has_reason ? skeleton.progs.dt_drop : skeleton.progs.dt_drop_without_reason;
  bpf_program__set_autoload(state_->drop_program, true);
  bpf_program__set_autoload(skeleton.progs.dt_note_nat, options.note_nat);
  bpf_program__set_autoload(skeleton.progs.dt_note_icmp, options.note_icmp);
  bpf_program__set_autoload(skeleton.progs.dt_note_reset, options.note_resets);
  bpf_program__set_autoload(skeleton.progs.dt_find_peer, options.peers);
  bpf_program__set_autoload(skeleton.progs.dt_xt_list, options.xt_tables);
  bpf_program__set_autoload(skeleton.progs.dt_xt_prime, options.xt_tables);
  bpf_program__set_autoload(skeleton.progs.dt_company, true);
  bpf_program__set_autoattach(skeleton.progs.dt_company, false);
  const auto& watch = skeleton.maps;
  if (const int error = maps.share(watch.dt_netns, watch.dt_cidrs4, watch.dt_cidrs6)) return error;
  if (const int error = bpf_map__set_max_entries(skeleton.maps.dt_records, options.ring_bytes))
    return -error;
  const auto cpus = static_cast<std::uint32_t>(libbpf_num_possible_cpus());
  if (const int error =
          bpf_map__set_max_entries(skeleton.maps.dt_xt_counts, DT_XT_TABLES_MAX * cpus))
    return -error;
  return -droptrace_bpf__load(&skeleton);
}

void BpfObject::attach() {
  if (const int error = droptrace_bpf__attach(state_->skeleton))
    refuse_bpf("attach to the kernel's tracepoints", -error);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, state_->skeleton->obj) {
    programs_.try_emplace(bpf_program__name(program), state_of(program));
  }
}

std::uint64_t BpfObject::ring_used_bytes() const {
  // The first page of a ring buffer's map has what was read, the second what was written (Linux
  // 5.8, 457f44363a88). libbpf tells neither before its version 1.3.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const int fd = bpf_map__fd(state_->skeleton->maps.dt_records);
  std::uint64_t positions[2] = {0, 0};
  for (std::size_t i = 0; i < 2; ++i) {
    void* const memory =
        ::mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(i * page));
    if (memory == MAP_FAILED) return 0;
    positions[i] = __atomic_load_n(static_cast<const std::uint64_t*>(memory), __ATOMIC_ACQUIRE);
    ::munmap(memory, page);
  }
  return positions[1] - positions[0];
}

int BpfObject::epoll_fd() const { return state_->ring->epoll_fd(); }

std::size_t BpfObject::consume(const RecordRing::Handle& handle, std::size_t limit) {
  const auto consumed = state_->ring->consume(handle, limit);
  if (!consumed) refuse_bpf("read the ring buffer", errno);
  return *consumed;
}

void BpfObject::set_polling(bool polling) {
  state_->skeleton->bss->dt_consumer_polls = polling ? 1 : 0;
}

dt_layout BpfObject::layout() const { return state_->skeleton->bss->dt_layout; }

void BpfObject::set_layout(const dt_layout& layout) { state_->skeleton->bss->dt_layout = layout; }

std::optional<dt_xt_list> BpfObject::list_xt_tables(const dt_xt_list* earlier) {
  std::uint64_t arguments[] = {earlier ? earlier->net : 0, earlier ? earlier->netns : 0};
  if (run_program(state_->skeleton->progs.dt_xt_list, arguments, std::nullopt) != 0)
    return std::nullopt;
  dt_xt_list list;
  const std::uint32_t key = 0;
  if (bpf_map__lookup_elem(state_->skeleton->maps.dt_xt_found, &key, sizeof(key), &list,
                           sizeof(list), 0) != 0)
    return std::nullopt;
  if (earlier && list.netns != earlier->netns) return std::nullopt;
  return list;
}

bool BpfObject::prime_xt_table(std::uint64_t info, const dt_xt_table& table) {
  const droptrace_bpf& skeleton = *state_->skeleton;
  if (bpf_map__update_elem(skeleton.maps.dt_xt_tables, &info, sizeof(info), &table, sizeof(table),
                           BPF_ANY) != 0)
    return false;
  const auto none = std::make_unique<dt_xt_counts>();
  for (int cpu = 0; cpu < libbpf_num_possible_cpus(); ++cpu) {
    const dt_xt_counts_key key{info, static_cast<std::uint32_t>(cpu), 0};
    std::uint64_t arguments[] = {info};
    int result = bpf_map__update_elem(skeleton.maps.dt_xt_counts, &key, sizeof(key), none.get(),
                                      sizeof(*none), BPF_ANY);
    // Drops may interrupt it; a CPU that never gets ready says so with each of them.
    for (int tries = 0; result >= 0 && tries < kPrimeTries; ++tries) {
      result = run_program(skeleton.progs.dt_xt_prime, arguments, key.cpu);
      if (result == 0) break;
    }
    // A CPU that is offline drops nothing, and says so itself should it come back.
    if (result < 0 && errno != ENXIO) {
      forget_xt_table(info);
      return false;
    }
  }
  state_->skeleton->bss->dt_layout.xt_known = 1;
  return true;
}

void BpfObject::forget_xt_table(std::uint64_t info) {
  const droptrace_bpf& skeleton = *state_->skeleton;
  bpf_map__delete_elem(skeleton.maps.dt_xt_tables, &info, sizeof(info), 0);
  for (int cpu = 0; cpu < libbpf_num_possible_cpus(); ++cpu) {
    const dt_xt_counts_key key{info, static_cast<std::uint32_t>(cpu), 0};
    bpf_map__delete_elem(skeleton.maps.dt_xt_counts, &key, sizeof(key), 0);
  }
}

int BpfObject::verdicts_fd() const { return bpf_map__fd(state_->skeleton->maps.dt_verdicts); }

std::vector<dt_calibration> BpfObject::calibration() const {
  std::vector<dt_calibration> words(DT_CALIBRATION_WORDS);
  for (std::uint32_t i = 0; i < DT_CALIBRATION_WORDS; ++i)
    bpf_map__lookup_elem(state_->skeleton->maps.dt_calibration, &i, sizeof(i), &words[i],
                         sizeof(words[i]), 0);
  return words;
}

std::optional<VethPeer> BpfObject::find_peer(std::uint32_t ifindex) const {
  std::uint64_t arguments[] = {ifindex};
  dt_peer found;
  const std::uint32_t key = 0;
  if (run_program(state_->skeleton->progs.dt_find_peer, arguments, std::nullopt) != 0 ||
      bpf_map__lookup_elem(state_->skeleton->maps.dt_peer_found, &key, sizeof(key), &found,
                           sizeof(found), 0) != 0 ||
      found.netns == 0)
    return std::nullopt;
  return VethPeer{
      found.netns, found.ifindex, {found.ifname, strnlen(found.ifname, sizeof(found.ifname))}};
}

dt_frame_words BpfObject::frame_words() const {
  dt_frame_words words{};
  const std::uint32_t key = 0;
  bpf_map__lookup_elem(state_->skeleton->maps.dt_frame_words, &key, sizeof(key), &words,
                       sizeof(words), 0);
  return words;
}

bool BpfObject::set_company(bool company) {
  bpf_link__destroy(std::exchange(state_->company, nullptr));
  if (company) state_->company = bpf_program__attach(state_->skeleton->progs.dt_company);
  return !company || state_->company;
}

BpfCounters BpfObject::counters() const {
  BpfCounters total;
  std::uint64_t ring_full = 0;
  std::vector<dt_stats> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t key = 0;
  if (bpf_map__lookup_elem(state_->skeleton->maps.dt_stats, &key, sizeof(key), per_cpu.data(),
                           per_cpu.size() * sizeof(dt_stats), 0) == 0) {
    for (const dt_stats& stats : per_cpu) {
      total.seen += stats.seen;
      total.other_netns += stats.other_netns;
      total.other_addresses += stats.other_addresses;
      total.recorded += stats.recorded;
      ring_full += stats.lost_ring_full;
    }
  }
  if (ring_full > 0) total.lost["ring_buffer_full"] = ring_full;

  // The program is not run for a drop that happens while it runs on the same CPU.
  bpf_prog_info info{};
  std::uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_program__fd(state_->drop_program), &info, &size) == 0 &&
      info.recursion_misses > 0)
    total.lost["recursion"] = info.recursion_misses;
  return total;
}

}  // namespace droptrace

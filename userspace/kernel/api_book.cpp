// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/api_book.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace droptrace {

namespace {

constexpr const char* kAdminConf = "/etc/kubernetes/admin.conf";
// At most a twentieth of the time is spent asking.
constexpr int kRestPerRead = 20;
constexpr std::chrono::seconds kRestMin{30};

}  // namespace

ApiBook::ApiBook(EventLoop& loop, std::string kubeconfig,
                 std::function<void(const std::string&)> report)
    : loop_(loop), kubeconfig_(std::move(kubeconfig)), report_(std::move(report)) {}

void ApiBook::refresh() {
  if (told_ || Clock::now() < rest_until_) return;
  started_ = Clock::now();
  told_ = std::make_shared<ApiNames>();
  ask(pods_, {"pods", std::string("-o=go-template=") + ApiNames::kPodTemplate}, &ApiNames::add_pod,
      [this] {
        ask(services_,
            {"endpointslices", "--selector=service.kubernetes.io/headless",
             std::string("-o=go-template=") + ApiNames::kHeadlessTemplate},
            &ApiNames::add_headless, [this] { finish(""); });
      });
}

void ApiBook::ask(std::unique_ptr<Tool>& tool, const std::vector<std::string>& what, AddLine add,
                  std::function<void()> then) {
  std::vector<std::string> command{
      "kubectl", "--kubeconfig", kubeconfig_, "--request-timeout=10s", "get", "--all-namespaces"};
  command.insert(command.end(), what.begin(), what.end());
  const auto rest = std::make_shared<std::string>();  // an unfinished line
  const auto take = [this, add, rest](std::string_view piece) {
    for (std::size_t end = piece.find('\n'); end != std::string_view::npos;
         end = piece.find('\n')) {
      *rest += piece.substr(0, end);
      ((*told_).*add)(*rest);
      rest->clear();
      piece.remove_prefix(end + 1);
    }
    *rest += piece;
  };
  tool = std::make_unique<Tool>(loop_, command, take, [this, then = std::move(then)](bool good) {
    good ? then() : finish("kubectl got no answer with " + kubeconfig_);
  });
  if (!tool->running()) finish("kubectl cannot be run");
}

void ApiBook::finish(const std::string& problem) {
  if (problem.empty()) names_ = std::move(told_);
  told_.reset();
  if (!problem.empty() && report_)
    report_(problem + ": pods of other nodes and headless services keep their addresses");
  report_ = nullptr;
  const auto now = Clock::now();
  rest_until_ = now + std::max<Clock::duration>(kRestMin, kRestPerRead * (now - started_));
}

void ApiBook::housekeep() {
  for (Tool* const tool : {pods_.get(), services_.get()}) {
    if (tool) tool->end_if_overdue();
  }
}

std::string find_kubeconfig() { return ::access(kAdminConf, R_OK) == 0 ? kAdminConf : ""; }

}  // namespace droptrace

// SPDX-License-Identifier: GPL-2.0-only
#include "core/http_request.h"

#include <fmt/format.h>

namespace droptrace {

namespace {

std::string answer(std::string_view status, std::string_view body, bool with_body,
                   std::string_view type = "text/plain; charset=utf-8",
                   std::string_view more = "") {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n{}",
      status, type, body.size(), more, with_body ? body : std::string_view());
}

}  // namespace

bool http_complete(std::string_view request) {
  return request.size() >= kHttpRequestMost || request.find("\r\n\r\n") != std::string_view::npos ||
         request.find("\n\n") != std::string_view::npos;
}

std::optional<std::string> http_answer(std::string_view request, std::string_view page) {
  if (!http_complete(request)) return std::nullopt;
  if (request.size() >= kHttpRequestMost)
    return answer("431 Request Header Fields Too Large", "request too long\n", true);
  std::string_view line = request.substr(0, request.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::size_t method_end = line.find(' ');
  const std::size_t target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || target_end <= method_end ||
      !line.substr(target_end + 1).starts_with("HTTP/1."))
    return answer("400 Bad Request", "not HTTP/1.1\n", true);

  const std::string_view method = line.substr(0, method_end);
  std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  target = target.substr(0, target.find('?'));
  const bool with_body = method != "HEAD";
  if (with_body && method != "GET")
    return answer("405 Method Not Allowed", "GET and HEAD only\n", true,
                  "text/plain; charset=utf-8", "Allow: GET, HEAD\r\n");
  if (target == "/metrics")
    return answer("200 OK", page, with_body, "text/plain; version=0.0.4; charset=utf-8");
  return answer("404 Not Found", "the metrics are at /metrics\n", with_body);
}

}  // namespace droptrace

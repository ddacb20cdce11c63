// SPDX-License-Identifier: GPL-2.0-only
// usage: kindnetd QUEUE [SOURCE...]
//
// Judges the packets of an NFQUEUE as kindnetd does for network policies: IPv4 packets from one of
// the SOURCEs are accepted, all others dropped ("default deny ingress" with exceptions). Binds with
// the settings of the real one, fail-open among them. Ends with 1 if it cannot be heard.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COPIED_BYTES 128
#define MAX_QUEUED 1024
#define SOURCE_OFFSET 12  // of the source address in an IPv4 header

struct request {
  struct nlmsghdr header;
  struct nfgenmsg family;
  char attributes[64];
};

static int netlink = -1;
static unsigned int queue;

static void start(struct request* request, int type) {
  memset(request, 0, sizeof(*request));
  request->header.nlmsg_len = NLMSG_LENGTH(sizeof(request->family));
  request->header.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
  request->header.nlmsg_flags = NLM_F_REQUEST;
  request->family.res_id = htons(queue);
}

static void add(struct request* request, int type, const void* payload, size_t length) {
  char* end = (char*)request + NLMSG_ALIGN(request->header.nlmsg_len);
  struct nlattr attribute = {.nla_len = NLA_HDRLEN + length, .nla_type = type};

  memcpy(end, &attribute, sizeof(attribute));
  memcpy(end + NLA_HDRLEN, payload, length);
  request->header.nlmsg_len = end - (char*)request + NLA_ALIGN(NLA_HDRLEN + length);
}

static void send_or_leave(const struct request* request) {
  if (send(netlink, request, request->header.nlmsg_len, 0) < 0) {
    perror("kindnetd: send");
    exit(1);
  }
}

static void bind_queue(void) {
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params parameters = {htonl(COPIED_BYTES), NFQNL_COPY_PACKET};
  __be32 length = htonl(MAX_QUEUED), flags = htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO);
  struct request request;

  start(&request, NFQNL_MSG_CONFIG);
  add(&request, NFQA_CFG_CMD, &command, sizeof(command));
  send_or_leave(&request);
  start(&request, NFQNL_MSG_CONFIG);
  request.header.nlmsg_flags |= NLM_F_ACK;
  add(&request, NFQA_CFG_PARAMS, &parameters, sizeof(parameters));
  add(&request, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length));
  add(&request, NFQA_CFG_FLAGS, &flags, sizeof(flags));
  add(&request, NFQA_CFG_MASK, &flags, sizeof(flags));
  send_or_leave(&request);
}

static int is_allowed(in_addr_t source, int count, char** sources) {
  for (int i = 0; i < count; i++)
    if (inet_addr(sources[i]) == source) return 1;
  return 0;
}

static void judge(const struct nlmsghdr* message, int count, char** sources) {
  struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_DROP)};
  const char* at = (const char*)NLMSG_DATA(message) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
  const char* end = (const char*)message + message->nlmsg_len;
  struct request request;

  while (at + NLA_HDRLEN <= end) {
    const struct nlattr* attribute = (const struct nlattr*)at;
    const char* payload = at + NLA_HDRLEN;
    in_addr_t source;

    switch (attribute->nla_type & NLA_TYPE_MASK) {
      case NFQA_PACKET_HDR:
        verdict.id = ((const struct nfqnl_msg_packet_hdr*)payload)->packet_id;
        break;
      case NFQA_PAYLOAD:
        if (payload[0] >> 4 != 4) break;
        memcpy(&source, payload + SOURCE_OFFSET, sizeof(source));
        if (is_allowed(source, count, sources)) verdict.verdict = htonl(NF_ACCEPT);
        break;
    }
    at += NLA_ALIGN(attribute->nla_len);
  }
  start(&request, NFQNL_MSG_VERDICT);
  add(&request, NFQA_VERDICT_HDR, &verdict, sizeof(verdict));
  send_or_leave(&request);
}

static void leave(int number) {
  (void)number;
  _exit(0);
}

int main(int argc, char** argv) {
  static union {
    struct nlmsghdr header;
    char bytes[1 << 16];
  } buffer;

  if (argc < 2) {
    fputs("usage: kindnetd QUEUE [SOURCE...]\n", stderr);
    return 2;
  }
  signal(SIGTERM, leave);  // as the first process of a container it would ignore it
  queue = strtoul(argv[1], NULL, 10);
  netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
  bind_queue();
  for (;;) {
    int length = recv(netlink, &buffer, sizeof(buffer), 0);
    struct nlmsghdr* message = &buffer.header;

    for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
      if (message->nlmsg_type == NLMSG_ERROR) {
        int error = ((struct nlmsgerr*)NLMSG_DATA(message))->error;

        if (error) {
          fprintf(stderr, "kindnetd: %s\n", strerror(-error));
          return 1;
        }
      } else if (message->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) {
        judge(message, argc - 2, argv + 2);
      }
    }
  }
}

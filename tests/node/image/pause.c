// SPDX-License-Identifier: GPL-2.0-only
// What holds the namespaces of a pod, as Kubernetes' own pause does: waits to be ended, and buries
// what the pod leaves behind. Also stands for the containers of pods that need no program.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int number) {
  (void)number;
  _exit(0);
}

static void bury(int number) {
  (void)number;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    ;
}

int main(void) {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  signal(SIGCHLD, bury);
  for (;;) pause();
}

/* The kernel's own price: CPU, in microseconds, of one send(2) of SIZE bytes to one of COUNT connections on this machine.
   A child takes what is sent. Prints one number. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static double spent(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1e6 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void drain(struct sockaddr_in place, int count) {
    struct pollfd *open = calloc(count, sizeof *open);
    static char data[1 << 16];
    for (int i = 0; i < count; i++) {
        open[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        open[i].events = POLLIN;
        if (connect(open[i].fd, (struct sockaddr *)&place, sizeof place)) exit(1);
    }
    for (int left = count; left > 0;) {
        if (poll(open, count, 10000) <= 0) exit(1);
        for (int i = 0; i < count; i++)
            if (open[i].revents && read(open[i].fd, data, sizeof data) <= 0) {
                open[i].fd = -1;
                left--;
            }
    }
    exit(0);
}

int main(int argc, char **argv) {
    int count = atoi(argv[1]), rounds = atoi(argv[2]), size = atoi(argv[3]), yes = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof place;
    int door = socket(AF_INET, SOCK_STREAM, 0), *peers = calloc(count, sizeof *peers), status;
    char *data = calloc(1, size);
    if (bind(door, (struct sockaddr *)&place, length) || listen(door, count)) return 1;
    getsockname(door, (struct sockaddr *)&place, &length);
    if (!fork()) drain(place, count);
    for (int i = 0; i < count; i++) {
        peers[i] = accept(door, 0, 0);
        setsockopt(peers[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    double before = spent();
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++)
            if (send(peers[i], data, size, 0) != size) return 1;
        usleep(3000);
    }
    printf("%.2f\n", (spent() - before) / rounds / count);
    for (int i = 0; i < count; i++) close(peers[i]);
    wait(&status);
    return status != 0;
}

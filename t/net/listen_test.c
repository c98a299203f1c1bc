/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "net/listen.h"
#include "t/tap.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/fd.h"
#include "util/mem.h"

static void check_inet(void)
{
	struct net_addr any, bound;
	int first = -1, second = -1, client = -1, accepted = -1;
	int64_t began = 0;

	is_int(net_addr_parse(SLICE_LIT("127.0.0.1"), 0, &any), 0, "an address");
	is_int(net_listen(&any, 0, &first), 0, "listens at a free port");
	is_int(net_local(first, &bound), 0, "which is known");
	is_int(net_listen(&bound, 0, &second), ERR_SYS, "a taken one");
	is_int(errno, EADDRINUSE, "is refused");
	is_int(second, -1, "without a descriptor");
	began = clock_mono();
	is_int(net_listen(&bound, began + 120 * CLOCK_MSEC, &second), ERR_SYS, "is waited for");
	ok(clock_mono() - began >= 100 * CLOCK_MSEC, "for the time given");
	is_int(net_connect(&bound, NULL, &client), 0, "a client");
	for (int i = 0; i < 10000 && net_accept(first, &accepted, &any) == ERR_AGAIN; i++)
		usleep(1000);
	ok(accepted >= 0, "is accepted");
	fd_close(&client);
	fd_close(&accepted);
	fd_close(&first);
}

static void check_unix(void)
{
	char dir[] = "/tmp/gatepost-listen-XXXXXX";
	char *path = NULL;
	struct net_addr a;
	int fd = -1, again = -1;

	if (mkdtemp(dir) == NULL)
		bail_out("mkdtemp");
	path = mem_fmt("%s/socket", dir);
	is_int(net_addr_unix(path, &a), 0, "a path");
	is_int(net_listen(&a, 0, &fd), 0, "listens there");
	is_int(net_listen(&a, 0, &again), ERR_SYS, "once");
	fd_close(&fd);
	unlink(path);
	rmdir(dir);
	mem_free(path);
}

static void check_resolve(void)
{
	struct buf out = BUF_INIT(10000), tiny = BUF_INIT(2);

	is_int(net_resolve("localhost", AF_INET, &out), 0, "localhost has an address");
	ok(slice_find_str(buf_slice(&out), "127.0.0.1\n") >= 0, "the one that is known");
	buf_reset(&out);
	is_int(net_resolve("name.invalid", AF_UNSPEC, &out), ERR_NOT_FOUND, "no such name");
	is_int(out.len, 0, "gives nothing");
	is_int(net_resolve("localhost", AF_INET, &tiny), ERR_NOT_FOUND, "no room");
	buf_clear(&out);
	buf_clear(&tiny);
}

static void caught(int signo)
{
	(void)signo;
}

/* A child of somebody else's may end at any time. */
static void check_resolve_with_signals(void)
{
	struct sigaction act = {.sa_handler = caught};
	struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
	struct buf out = BUF_INIT(10000);
	int found = 0;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 5; i++)
		found += net_resolve("localhost", AF_INET, &out) == 0;
	setitimer(ITIMER_REAL, &never, NULL);
	is_int(found, 5, "signals are no end of it");
	buf_clear(&out);
}

int main(void)
{
	check_inet();
	check_unix();
	check_resolve();
	check_resolve_with_signals();
	return done_testing();
}

/* SPDX-License-Identifier: ISC */

/*
 * What tally's tables cost: tally_state DIRECTORY [bans [greylist entries]]. Fills an empty
 * DIRECTORY's store, reads it as tally does when it starts, and decides connections.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tally/count.h"
#include "tally/state.h"
#include "util/log.h"

enum { CONNECTIONS = 1000000, BANS = 100000, GREY = 1000000, NETWORKS = 100 };

static const struct state_settings settings = {
	.rate_unit = 60 * CLOCK_SEC,
	.ban_window = 3600 * CLOCK_SEC,
	.ban_limit = 1000000,
	.grey_limit = 10000000,
	.grey_retry = 172800,
	.grey_age = 3024000,
	.grey_auto = 5,
};

static void gone(const struct ban *b)
{
	(void)b;
}

static int64_t resident(void)
{
	char text[128] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	struct slice rest = slice_of(text, n > 0 ? (size_t)n : 0), total, pages;
	uint64_t value = 0;

	close(fd);
	if (slice_token(&rest, " ", &total) && slice_token(&rest, " ", &pages))
		(void)slice_u64(pages, 0, UINT64_MAX, &value);
	return (int64_t)value * sysconf(_SC_PAGESIZE);
}

static uint64_t number(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9E3779B97F4A7C15);
	return n ^ (n >> 29);
}

static void address(uint64_t n, char text[NET_RANGE_TEXT])
{
	uint64_t v = number(n);

	(void)snprintf(text, NET_RANGE_TEXT, "%u.%u.%u.%u", 1 + (unsigned)(v % 223),
		(unsigned)(v >> 8 & 255), (unsigned)(v >> 16 & 255), (unsigned)(v >> 24 & 255));
}

static void open_state(const char *dir)
{
	state_open(&settings, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), clock_real(), gone);
}

static void fill_bans(uint64_t bans, int64_t now)
{
	char text[NET_RANGE_TEXT];
	struct net_range r;

	for (uint64_t i = 0; i < bans; i++) {
		address(i, text);
		if (net_range_parse(slice_str(text), &r) != 0)
			log_fatal("%s", text);
		if (i < NETWORKS)
			net_range_mask(&r, 20 + (unsigned)i % 8, 64);
		(void)state_ban(&r, BAN_AUTH, now, now + 86400 * CLOCK_SEC,
			SLICE_LIT("20 failed logins within 3600 s"));
		state_flush();
	}
}

static void fill_grey(uint64_t entries, int64_t now)
{
	char client[NET_RANGE_TEXT], sender[64], recipient[64];

	for (uint64_t i = 0; i < entries; i++) {
		address(i / 3, client);
		(void)snprintf(sender, sizeof(sender), "user%llu@far%llu.example",
			(unsigned long long)i, (unsigned long long)(i % 1000));
		(void)snprintf(recipient, sizeof(recipient), "box%llu@here.example",
			(unsigned long long)(i % 5000));
		(void)state_greylist(
			slice_str(client), slice_str(sender), slice_str(recipient), 300, now);
		if (i % 100 == 0)
			state_flush();
	}
	state_flush();
}

static double milliseconds(int64_t since)
{
	return (double)(clock_mono() - since) / 1000;
}

static void snapshot(void)
{
	int64_t begin = clock_mono();
	int fd = state_compact(clock_real());
	struct pollfd p = {fd, POLLIN, 0};

	printf("snapshot: tally was busy %.1f ms", milliseconds(begin));
	if (fd < 0 || poll(&p, 1, 60000) != 1)
		log_fatal("no snapshot");
	state_compacted();
	printf(", it took %.0f ms\n", milliseconds(begin));
}

static void connect_all(void)
{
	struct count *count = count_new(CONNECTIONS);
	struct count_owner *owner = count_owner_new(count);
	struct slice service = SLICE_LIT("smtp");
	int64_t begin = clock_mono(), now = clock_real();
	char text[NET_RANGE_TEXT];
	uint64_t banned = 0;

	for (uint64_t i = 0; i < CONNECTIONS; i++) {
		struct tally_event e = {TALLY_CONNECTIONS, 1, service, SLICE_NONE, SLICE_NONE};

		address(i % 2 == 0 ? number(i) % BANS : i + 2 * BANS, text);
		e.client_addr = slice_str(text);
		(void)count_enter(owner, service, e.client_addr);
		(void)state_rate(&e, 0, now);
		banned += state_ban_of(e.client_addr, now) != NULL;
		(void)count_leave(owner, service, e.client_addr);
	}
	printf("connect: %.2f us each, %llu of %d banned\n",
		(double)(clock_mono() - begin) / CONNECTIONS, (unsigned long long)banned,
		CONNECTIONS);
	count_owner_free(&owner);
	count_free(&count);
}

/* By a process that has nothing yet. */
static void start_alone(const char *dir)
{
	pid_t child = 0;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "tally_state", dir, "start", (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		log_fatal("no child");
}

int main(int argc, char **argv)
{
	uint64_t bans = BANS, grey = GREY;
	int64_t before = 0, now = clock_real(), begin = clock_mono();

	if (argc == 3 && strcmp(argv[2], "start") == 0) {
		open_state(argv[1]);
		printf("start: %.0f ms\n", milliseconds(begin));
		return 0;
	}
	if (argc < 2 || (argc > 2 && slice_u64(slice_str(argv[2]), 1, 1000000, &bans) != 0) ||
		(argc > 3 && slice_u64(slice_str(argv[3]), 1, 10000000, &grey) != 0)) {
		fprintf(stderr, "usage: tally_state DIRECTORY [bans [greylist entries]]\n");
		return 1;
	}
	open_state(argv[1]);
	before = resident();
	fill_bans(bans, now);
	printf("ban: %.0f bytes each, with its reason\n",
		(double)(resident() - before) / (double)bans);
	before = resident();
	fill_grey(grey, now);
	printf("greylist: %.0f bytes each\n", (double)(resident() - before) / (double)grey);
	printf("from the log: ");
	start_alone(argv[1]);
	snapshot();
	printf("from a snapshot: ");
	start_alone(argv[1]);
	connect_all();
	state_close(clock_real());
	return 0;
}

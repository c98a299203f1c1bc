/* SPDX-License-Identifier: ISC */
/*
 * Clients that authenticate, for measurements.
 *
 * usage: auth_load PORT scram|plain|greet PROCESSES SECONDS LOGIN PASSWORD
 * Each process opens one session after the other on 127.0.0.1: EHLO, AUTH, close. scram gives the
 * right password; plain a wrong one. greet connects alone, 50 times a second, and waits for 220.
 * Prints "done refused put-off median p99 most": sessions that got 235, 535 and 454, and times in
 * milliseconds (of greet: to the greeting; else of the whole session).
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sasl/record.h"
#include "util/base64.h"
#include "util/clock.h"

enum { TIMES = 200000, PROCESSES_MOST = 64, LINE = 4096 };

/* Shared by all processes, a part each. */
static struct part {
	unsigned long good, refused, later, n;
	double msec[TIMES];
} * parts;

static struct sockaddr_in server = {.sin_family = AF_INET};
static const char *login, *password, *mode;
static struct buf salted, salt;

static int open_session(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
		err(1, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* The last line of a reply, without its end. */
static int get_reply(int fd, char line[LINE])
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, line + len, LINE - 1 - len);

		if (n <= 0)
			return 0;
		len += (size_t)n;
		line[len] = '\0';
		if (line[len - 1] != '\n')
			continue;
		char *last = line;

		for (char *p = line; (p = strchr(p, '\n')) != NULL && p[1] != '\0'; p++)
			last = p + 1;
		if (strlen(last) < 4 || last[3] != ' ')
			continue;
		memmove(line, last, strlen(last) + 1);
		line[strcspn(line, "\r\n")] = '\0';
		return line[0] * 100 + line[1] * 10 + line[2] - '0' * 111;
	}
}

static int command(int fd, struct slice text, char line[LINE])
{
	struct buf out = BUF_INIT(LINE);

	buf_add_slice(&out, text);
	buf_add_str(&out, "\r\n");
	if (write(fd, buf_str(&out), out.len) != (ssize_t)out.len)
		line[0] = '\0';
	buf_clear(&out);
	return get_reply(fd, line);
}

static int send_coded(int fd, const char *before, struct slice message, char line[LINE])
{
	struct buf out = BUF_INIT(LINE);

	buf_add_str(&out, before);
	base64_encode(&out, message);
	int code = command(fd, buf_slice(&out), line);
	buf_clear(&out);
	return code;
}

static struct slice challenge_of(const char *line, struct buf *out)
{
	buf_reset(out);
	(void)base64_decode(out, slice_from(slice_str(line), 4));
	return buf_slice(out);
}

static struct slice value_of(struct slice message, const char *name)
{
	struct slice part;

	while (slice_part(&message, ',', &part))
		if (slice_starts(part, name))
			return slice_from(part, 2);
	return SLICE_NONE;
}

/* PBKDF2 is the client's: once for all sessions. */
static void salt_password(struct slice coded, unsigned iterations)
{
	char *room;

	if (salted.len > 0)
		return;
	(void)base64_decode(&salt, coded);
	(void)buf_room(&salted, SASL_KEY, &room);
	sasl_pbkdf2(slice_str(password), buf_slice(&salt), iterations, (uint8_t *)room);
	buf_added(&salted, SASL_KEY);
}

static void make_proof(struct slice text, uint8_t proof[SASL_KEY])
{
	uint8_t client[SASL_KEY], stored[SASL_KEY];

	sasl_hmac(buf_slice(&salted), SLICE_LIT("Client Key"), client);
	sasl_sha256(slice_of(client, SASL_KEY), stored);
	sasl_hmac(slice_of(stored, SASL_KEY), text, proof);
	for (int i = 0; i < SASL_KEY; i++)
		proof[i] ^= client[i];
}

static int scram(int fd, char line[LINE])
{
	struct buf first = BUF_INIT(LINE), challenge = BUF_INIT(LINE), final = BUF_INIT(LINE),
		   text = BUF_INIT(LINE);
	uint8_t proof[SASL_KEY];
	uint64_t iterations = 0;

	buf_add_fmt(
		&first, "n,,n=%s,r=%llx%d", login, (unsigned long long)clock_mono(), (int)getpid());
	int code = send_coded(fd, "AUTH SCRAM-SHA-256 ", buf_slice(&first), line);
	struct slice c = challenge_of(line, &challenge), nonce = value_of(c, "r=");
	if (code == 334 && slice_u64(value_of(c, "i="), 1, 10000000, &iterations) == 0) {
		salt_password(value_of(c, "s="), (unsigned)iterations);
		buf_add_fmt(&final, "c=biws,r=%.*s", SLICE_FMT(nonce));
		buf_add_fmt(
			&text, "%s,%.*s,%s", buf_str(&first) + 3, SLICE_FMT(c), buf_str(&final));
		make_proof(buf_slice(&text), proof);
		buf_add_str(&final, ",p=");
		base64_encode(&final, slice_of(proof, SASL_KEY));
		code = send_coded(fd, "", buf_slice(&final), line);
		if (code == 334)
			code = command(fd, SLICE_NONE, line);
	}
	buf_clear(&first);
	buf_clear(&challenge);
	buf_clear(&final);
	buf_clear(&text);
	return code;
}

static int plain(int fd, char line[LINE])
{
	struct buf text = BUF_INIT(LINE);

	buf_add_char(&text, '\0');
	buf_add_str(&text, login);
	buf_add_char(&text, '\0');
	buf_add_fmt(&text, "%s%llx", password, (unsigned long long)clock_mono());
	int code = send_coded(fd, "AUTH PLAIN ", buf_slice(&text), line);
	buf_clear(&text);
	return code;
}

static int session(char line[LINE])
{
	int fd = open_session(), code = get_reply(fd, line);

	if (code == 220 && strcmp(mode, "greet") != 0) {
		code = command(fd, SLICE_LIT("EHLO load.example"), line);
		if (code == 250)
			code = strcmp(mode, "scram") == 0 ? scram(fd, line) : plain(fd, line);
	}
	close(fd);
	return code;
}

static void work(struct part *p, double seconds)
{
	int64_t end = clock_mono() + (int64_t)(seconds * (double)CLOCK_SEC), now;
	char line[LINE];

	while ((now = clock_mono()) < end) {
		int code = session(line);

		p->good += code == 235 || code == 220;
		p->refused += code == 535;
		p->later += code == 454 || code == 421;
		if (p->n < TIMES)
			p->msec[p->n++] = (double)(clock_mono() - now) / 1000;
		if (strcmp(mode, "greet") == 0)
			usleep(20000);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	unsigned long good = 0, refused = 0, later = 0;
	static double times[TIMES];
	size_t n = 0;

	if (argc != 7)
		errx(2, "usage: auth_load PORT scram|plain|greet PROCESSES SECONDS LOGIN PASSWORD");
	mode = argv[2];
	login = argv[5];
	password = argv[6];
	server.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	buf_init(&salted, SASL_KEY);
	buf_init(&salt, LINE);
	unsigned processes = (unsigned)strtoul(argv[3], NULL, 10);
	if (processes < 1 || processes > PROCESSES_MOST)
		errx(2, "1 to %d processes", PROCESSES_MOST);
	parts = mmap(NULL, processes * sizeof(*parts), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (parts == MAP_FAILED)
		err(1, "mmap");
	for (unsigned i = 0; i < processes; i++) {
		if (fork() == 0) {
			work(&parts[i], strtod(argv[4], NULL));
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	for (unsigned i = 0; i < processes; i++) {
		good += parts[i].good;
		refused += parts[i].refused;
		later += parts[i].later;
		for (unsigned long k = 0; k < parts[i].n && n < TIMES; k++)
			times[n++] = parts[i].msec[k];
	}
	qsort(times, n, sizeof(*times), compare);
	if (n > 0)
		printf("%lu %lu %lu %.2f %.2f %.2f\n", good, refused, later, times[n / 2],
			times[n - 1 - n / 100], times[n - 1]);
	return 0;
}

/* SPDX-License-Identifier: ISC */
#include "mail/attempt.h"

#include "mail/address.h"
#include "util/log.h"

enum { LINE_MAX_BYTES = 8192, TEXT_MAX = 4096 };

void mail_add_delay(struct buf *out, int64_t delay, unsigned digits)
{
	/* unit: what the last digit shown is worth. Two significant ones, never finer than digits.
	 */
	int64_t unit = CLOCK_SEC;
	int64_t top = CLOCK_SEC;
	unsigned shown = 0;
	if (delay < 0) {
		delay = 0;
	}
	while (shown < digits && shown < 6 && delay < top * 10) {
		unit /= 10;
		shown++;
		top /= 10;
		if (delay >= top * 10) {
			break;
		}
	}
	int64_t n = (delay + unit / 2) / unit;
	while (shown > 0 && n % 10 == 0) {
		n /= 10;
		shown--;
	}
	int64_t scale = 1;
	for (unsigned i = 0; i < shown; i++) {
		scale *= 10;
	}
	buf_add_fmt(out, "%lld", (long long)(n / scale));
	if (shown > 0) {
		buf_add_fmt(out, ".%0*lld", (int)shown, (long long)(n % scale));
	}
}

static void add_address(struct buf *out, const char *name, struct slice address)
{
	struct buf external = BUF_INIT(2 * ADDRESS_PATH_LIMIT);
	address_add_external(&external, address);
	buf_add_fmt(out, "%s=<", name);
	log_quote(out, buf_slice(&external), ADDRESS_PATH_LIMIT);
	buf_add_str(out, ">, ");
	buf_clear(&external);
}

static void add_delays(struct buf *out, const struct mail_attempt *a)
{
	const int64_t at[] = {a->arrival, a->active, a->begun, a->connected, a->ended};
	buf_add_str(out, "delay=");
	mail_add_delay(out, a->ended - a->arrival, a->digits);
	buf_add_str(out, ", delays=");
	for (int i = 0; i < 4; i++) {
		buf_add_str(out, i > 0 ? "/" : "");
		mail_add_delay(out, at[i + 1] - at[i], a->digits);
	}
}

void mail_attempt_log(const struct mail_attempt *a)
{
	struct buf out = BUF_INIT(LINE_MAX_BYTES);
	add_address(&out, "to", a->recipient);
	if (a->orig_to.len > 0 && !slice_eq(a->orig_to, a->recipient)) {
		add_address(&out, "orig_to", a->orig_to);
	}
	buf_add_str(&out, "relay=");
	log_quote(&out, slice_str(a->relay), 1024);
	buf_add_str(&out, ", ");
	if (a->conn_use > 1) {
		buf_add_fmt(&out, "conn_use=%u, ", a->conn_use);
	}
	add_delays(&out, a);
	buf_add_fmt(&out, ", dsn=%s, status=%s (", a->dsn, a->status);
	log_quote(&out, a->text, TEXT_MAX);
	log_info("%.*s: %s)", SLICE_FMT(a->id), buf_str(&out));
	buf_clear(&out);
}

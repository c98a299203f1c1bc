/* SPDX-License-Identifier: ISC */
#include "smtpd/stress.h"

#include "conf/conf.h"
#include "net/loop.h"
#include "server/counters.h"
#include "server/server.h"
#include "util/log.h"

static struct bounds ordinary, stressed;
static bool is_on;
static struct loop_timer timer; /* runs while it is on */

static void begin(uint64_t sessions)
{
	bool is_first = counters_sum(COUNTER_STRESS) == 0;

	is_on = true;
	counters_add(COUNTER_STRESS, 1);
	if (!is_first)
		return;
	log_warning("service \"%s\" has %llu of %llu sessions: new ones get the limits for stress",
		server_service(), (unsigned long long)sessions,
		(unsigned long long)server_sessions());
}

static void end(uint64_t sessions)
{
	is_on = false;
	counters_add(COUNTER_STRESS, -1);
	if (counters_sum(COUNTER_STRESS) > 0)
		return;
	log_info("service \"%s\" has %llu of %llu sessions: new ones get ordinary limits",
		server_service(), (unsigned long long)sessions,
		(unsigned long long)server_sessions());
}

static void look(void)
{
	uint64_t sessions = counters_sum(COUNTER_SESSIONS), most = server_sessions();

	/* How many the port may have is not known. */
	if (most == 0)
		return;
	if (!is_on && sessions * 100 >= most * STRESS_ON)
		begin(sessions);
	else if (is_on && sessions * 100 < most * STRESS_OFF)
		end(sessions);
	loop_timer_set(&timer, is_on ? loop_now() + CLOCK_SEC : CLOCK_NEVER);
}

static void look_again(void *arg)
{
	(void)arg;
	look();
}

void stress_open(void)
{
	struct conf *variant = conf_variant("stress", "yes");
	const struct {
		enum param p;
		int *ordinary, *stressed;
	} rows[] = {
		{P_smtpd_soft_error_limit, &ordinary.soft_errors, &stressed.soft_errors},
		{P_smtpd_hard_error_limit, &ordinary.hard_errors, &stressed.hard_errors},
		{P_smtpd_junk_command_limit, &ordinary.junk, &stressed.junk},
		{P_smtpd_rset_limit, &ordinary.rsets, &stressed.rsets},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		*rows[i].ordinary = (int)conf_int(rows[i].p);
		*rows[i].stressed = (int)conf_variant_number(variant, rows[i].p);
	}
	ordinary.timeout = conf_time(P_smtpd_timeout);
	stressed.timeout = conf_variant_number(variant, P_smtpd_timeout);
	ordinary.starttls_timeout = conf_time(P_smtpd_starttls_timeout);
	stressed.starttls_timeout = conf_variant_number(variant, P_smtpd_starttls_timeout);
	ordinary.error_sleep = conf_time(P_smtpd_error_sleep_time);
	stressed.error_sleep = conf_variant_number(variant, P_smtpd_error_sleep_time);
	ordinary.stress = conf_str(P_stress);
	stressed.stress = "yes";
	conf_free(&variant);
	loop_timer_init(&timer, look_again, NULL);
}

const struct bounds *stress_bounds(void)
{
	look();
	return is_on ? &stressed : &ordinary;
}

#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Sessions that say anything in any order, stop anywhere and vanish, while cleanup refuses, dawdles and
# dies: smtpd stays, and serves who comes next. GP_SEED and GP_ROUNDS for longer searches.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my $seed = $ENV{GP_SEED} // 7;
srand $seed;
my $st = Gatepost::Stage->new(main => {
    smtpd_recipient_limit => 50, smtpd_hard_error_limit => 30, smtpd_soft_error_limit => 25,
    smtpd_error_sleep_time => '1s', smtpd_timeout => '3s', message_size_limit => 5000,
    smtpd_forbid_unauth_pipelining => 'no', local_recipient_maps => 'later:inline:{root=1}',
    relay_domains => 'later:inline:{{relay.test=1}}',
});
my @pieces = (
    "EHLO x\r\n", "HELO y\r\n", ("MAIL FROM:<a\@b.test>\r\n") x 3,
    map({"MAIL FROM:<$_\@b.test>\r\n"}
        qw(refuse-open refuse-end die-early slow die-durable die-silent)),
    ("RCPT TO:<root>\r\n") x 5, "RCPT TO:<x\@far.test>\r\n", "RCPT TO:<no\@local.test>\r\n",
    ("DATA\r\n") x 3, "hello\r\n", 'x' x 3000, ".\r\n", ("\r\n.\r\n") x 4, "BDAT 5\r\n",
    "BDAT 5 LAST\r\n", "BDAT 6000 LAST\r\n", "RSET\r\n", "NOOP\r\n", "VRFY root\r\n",
    "VRFY x\@relay.test\r\n", "QUIT\r\n", "\n", "\r", "\0", "FOO\r\n", "\xff\r\n", 'abcde',
    'y' x 70_000,
);
local $SIG{PIPE} = 'IGNORE';
my ($sessions, @open) = (0);
for my $round (1 .. $ENV{GP_ROUNDS} // 400) {
    while (@open < 60) {
        my $c = $st->client or last;
        $c->sock->blocking(0);
        push @open, $c;
        $sessions++;
    }
    for my $i (reverse 0 .. $#open) {
        my $sock = $open[$i]->sock;
        my $what = rand;
        shutdown $sock, 1 if $what > 0.99;
        sysread $sock, my $unread, 100_000;
        my $bytes = join '', map { $pieces[rand @pieces] } 0 .. rand 6;
        my $sent = syswrite $sock, $bytes;
        next if $what > 0.02 && (defined $sent || $!{EAGAIN});
        close $sock;
        splice @open, $i, 1;
    }
    select undef, undef, undef, 0.002;
}
diag("seed $seed: $sessions sessions");
$_->close for @open;
ok(wait_until(15, sub {
        my $c = $st->session or return;
        $c->mail('a@b.test', 'root', "x\r\n")->{code} == 250;
    }), 'mail is taken afterwards');
unlike($st->log_text, qr/panic|fatal|broke the protocol/, 'no rule was broken');
$st->order('stop');
is($st->end, 0, 'ends in good order');
done_testing;

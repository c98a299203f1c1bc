#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The log as Postfix's tools read it: each line in the form of Postfix 3.7, and pflogsumm, which counts
# the log of an instance with syslog_name = postfix as it counts Postfix's.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

need('pflogsumm');
my $sink = Gatepost::Sink->new(on => { rcpt => sub {
    my ($s, $arg) = @_;
    return $arg =~ /^<bad/ ? '550 5.1.1 <bad>: no such user' : $arg =~ /^<wait/ ? '450 4.2.1 <wait>: busy' : undef;
} });
my $gp = Gatepost::Instance->new(main => {
    syslog_name => 'postfix', relayhost => '[127.0.0.1]:' . $sink->port, relay_domains => 'next.test',
    relay_recipient_maps => 'inline:{' . join(', ', map {"{$_\@next.test=x}"} qw(good1 good2 good3 bad wait)) . '}',
    mynetworks => '127.0.0.9', smtpd_recipient_restrictions => '', minimal_backoff_time => '1h',
    maximal_backoff_time => '1h', smtpd_hard_error_limit => 4, smtpd_error_sleep_time => 0,
    smtpd_client_connection_count_limit => 2, header_size_limit => 102400,
    smtpd_relay_restrictions => 'permit_mynetworks, reject_unauth_destination',
});
$gp->start;

my $r = $gp->mail('s@client.test', ['good1@next.test', 'good2@next.test'], "Message-ID: <one\@client.test>\r\nSubject: one\r\n\r\n" . "x\r\n" x 100);
my $id = Gatepost::Smtp->id_of($r);
my $bad = Gatepost::Smtp->id_of($gp->mail('s@client.test', 'bad@next.test', "Subject: bad\r\n\r\nx\r\n"));
my $wait = Gatepost::Smtp->id_of($gp->mail('s@client.test', 'wait@next.test', "Subject: wait\r\n\r\nx\r\n"));
ok($id && $bad && $wait, 'three messages');
my $c = $gp->session;
$c->cmd('MAIL FROM:<s@client.test>', 250);
$c->cmd('RCPT TO:<nobody@next.test>', 550);
$c->cmd('RCPT TO:<x@elsewhere.test>', 554);
$c->quit;
$c = $gp->session;
$c->cmd('MAIL FROM:<s@client.test>', 250);
$c->cmd('RCPT TO:<good3@next.test>', 250);
$c->cmd('DATA', 354);
$c->send("half a message\r\n");
$c->close;
$c = $gp->session;
$c->cmd('WHAT') for 1 .. 6;
$c->close;
# The sessions before it may still be counted.
ok(wait_until(10, sub { $c = $gp->client or return; $c->reply->{code} == 220 }), 'one that goes at once');
$c->close;
my @two = map { $gp->session } 1 .. 2;
$c = $gp->client;
$c->expect(421);
$_->quit for @two;

my ($tag, $who, $port) = (qr/^\w{3} [ \d]\d [\d:]{8} \S+ postfix/, 'unknown\[127\.0\.0\.1\]', $sink->port);
my $relay = "127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\]:$port";
my $delay = 'delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+';
my $reject = "to=<%s> proto=ESMTP helo=<client\\.example>";
for my $row (
    ['smtpd',   "connect from $who"],
    ['smtpd',   "disconnect from $who ehlo=1 mail=1 rcpt=2 data=1 quit=1 commands=6"],
    ['smtpd',   "disconnect from $who ehlo=1 mail=1 rcpt=0/2 quit=1 commands=3/5"],
    ['smtpd',   "$id: client=$who"],
    ['cleanup', "$id: message-id=<one\@client\\.test>"],
    ['qmgr',    "$id: from=<s\@client\\.test>, size=\\d+, nrcpt=2 \\(queue active\\)"],
    ['smtp',    "$id: to=<good1\@next\\.test>, relay=$relay, $delay, dsn=2\\.0\\.0, status=sent \\(250 2\\.0\\.0 Ok: queued as S\\d+\\)"],
    ['smtp',    "$bad: to=<bad\@next\\.test>, relay=$relay, (?:conn_use=\\d+, )?$delay, dsn=5\\.1\\.1, status=bounced "
            . "\\(host 127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\] said: 550 5\\.1\\.1 <bad>: no such user \\(in reply to RCPT TO command\\)\\)"],
    ['smtp',    "$wait: to=<wait\@next\\.test>, relay=$relay, (?:conn_use=\\d+, )?$delay, dsn=4\\.2\\.1, status=deferred "
            . "\\(host 127\\.0\\.0\\.1\\[127\\.0\\.0\\.1\\] said: 450 4\\.2\\.1 <wait>: busy \\(in reply to RCPT TO command\\)\\)"],
    ['bounce',  "$bad: sender non-delivery notification: [0-9A-F]+"],
    ['qmgr',    "$id: removed"],
    ['smtpd',   "NOQUEUE: reject: RCPT from $who: 550 5\\.1\\.1 <nobody\@next\\.test>: Recipient address rejected: "
            . "User unknown in relay recipient table; from=<s\@client\\.test> " . sprintf $reject, 'nobody@next\.test'],
    ['smtpd',   "NOQUEUE: reject: RCPT from $who: 554 5\\.7\\.1 <x\@elsewhere\\.test>: Relay access denied; "
            . "from=<s\@client\\.test> " . sprintf $reject, 'x@elsewhere\.test'],
    ['smtpd',   "lost connection after DATA \\(\\d+ bytes\\) from $who"],
    ['smtpd',   "lost connection after CONNECT from $who"],
    ['smtpd',   "too many errors after UNKNOWN from $who"],
    ['smtpd',   "warning: Connection concurrency limit exceeded: 3 from $who for service \\S+"],
    ['master',  "daemon started -- version \\S+, configuration \\S+"],
) {
    my ($program, $text) = @$row;
    $gp->wait_log(qr/$tag\/$program\[\d+\]: $text$/, "$program: $text", 8);
}
is((grep { !/$tag\/\w+\[\d+\]: / } $gp->log_lines)[0], undef, 'every line has the form of syslog');
# All that is counted below has come to its end.
$gp->wait_log(qr/: to=<\Q$_\E>, .*status=sent/, "sent to $_") for 'good2@next.test', 's@client.test';
my $deleted = $gp->tool('gateq', 'delete', $wait);
$gp->wait_log(qr/$tag\/postsuper\[\d+\]: $wait: removed$/, 'postsuper: removed');
$gp->stop;

my ($status, $out) = run_out('pflogsumm', '--problems-first', $gp->{log});
is($status, 0, 'pflogsumm reads it');
my %count = map { /^ +(\d+) +(\w+)/ ? ($2 => $1) : () } split /\n/, ($out =~ /Grand Totals(.*?)Per-Hour/s)[0];
is($count{$_->[0]}, $_->[1], "pflogsumm counts $_->[0]: $_->[1]")
    for ['received', 4], ['delivered', 3], ['deferred', 1], ['bounced', 1], ['rejected', 2], ['forwarded', 0];
like($out, qr/User unknown in relay recipient table/, 'with reasons');
like($out, qr/^message reject detail\n.*Relay access denied/ms, 'of each kind');
diag $out if !Test::More->builder->is_passing;
done_testing;

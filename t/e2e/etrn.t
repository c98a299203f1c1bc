#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# ETRN: mail that waits for a domain is tried at once, wherever it is routed, and no other mail.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my @ports = map { free_port() } 1 .. 2;
my $gp = Gatepost::Instance->new(main => {
    minimal_backoff_time => '1000s', maximal_backoff_time => '2000s', relay_domains => 'one.test, two.test',
    transport_maps => "inline:{{one.test=smtp:[127.0.0.1]:$ports[0]} {two.test=smtp:[127.0.0.1]:$ports[1]}}",
    smtpd_recipient_restrictions => 'permit_mynetworks, reject', smtp_connect_timeout => '5s',
});
$gp->start;
my $c = $gp->session;
my %id;
for my $domain (qw(one.test two.test)) {
    my $r = $c->mail('a@b.test', "r\@$domain", "Subject: x\r\n\r\nx\r\n");
    $id{$domain} = $c->id_of($r);
    $gp->wait_log(qr/: $id{$domain}: to=<r\@\Q$domain\E>.* status=deferred /, "mail for $domain waits");
}
my @sinks = map { Gatepost::Sink->new(port => $_) } @ports;
is($c->cmd('ETRN one.test')->{text}, '250 2.0.0 Queuing started', 'ETRN');
$gp->wait_log(qr/: $id{'one.test'}: to=<r\@one\.test>.* status=sent /, 'is delivered');
is($c->cmd('ETRN far.test')->{text}, '459 4.7.1 <far.test>: service unavailable', 'not a domain of ours');
ok(!$gp->log_lines(qr/: $id{'two.test'}: .* status=sent /), 'the other mail still waits');
is($c->cmd('ETRN two.test')->{text}, '250 2.0.0 Queuing started', 'ETRN for that');
$gp->wait_log(qr/: $id{'two.test'}: to=<r\@two\.test>.* status=sent /, 'is delivered too');
$c->quit;
$gp->stop;
done_testing;

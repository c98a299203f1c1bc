#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# ETRN, postqueue -s and sendmail -qR: mail that waits for a domain is tried at once, wherever it is
# routed, was routed, and by whatever rule, also when all that is known of it since a restart is a
# file; and no other mail.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my %port = map { $_ => free_port() } qw(one two sd st vip moved y);
sub at { return 'smtp:[127.0.0.1]:' . $port{ $_[0] } }
sub transports { my %to = @_; return 'inline:{' . join(' ', map {"{$_=$to{$_}}"} sort keys %to) . '}' }
my %routes = ('one.test' => at('one'), 'two.test' => at('two'), 'vip@one.test' => at('vip'), 'moved.test' => at('moved'),
    map { ("y$_.test" => at('y')) } 1 .. 3);
my $gp = Gatepost::Instance->new(main => {
    minimal_backoff_time => '1000s', maximal_backoff_time => '2000s', relay_domains => 'one.test, two.test',
    fast_flush_domains => '$relay_domains, sd.test, st.test, moved.test, y1.test, y3.test', queue_file_delay => '1s',
    transport_maps => transports(%routes), sender_dependent_relayhost_maps => "inline:{sd\@b.test=[127.0.0.1]:$port{sd}}",
    sender_dependent_default_transport_maps => 'inline:{st@b.test=' . at('st') . '}',
    smtpd_recipient_restrictions => 'permit_mynetworks, reject', smtp_connect_timeout => '5s',
});
$gp->start;
my $c = $gp->session;
my %id;
for (['one', 'a@b.test', 'r@one.test'], ['two', 'a@b.test', 'r@two.test'], ['vip', 'a@b.test', 'vip@one.test'],
    ['sd', 'sd@b.test', 'r@sd.test'], ['st', 'st@b.test', 'r@ST.test'], ['moved', 'a@b.test', 'r@moved.test'],
    ['many', 'a@b.test', map {"r\@y$_.test"} 1 .. 3]) {
    my ($name, $from, @to) = @$_;
    $id{$name} = $c->id_of($c->mail($from, \@to, "Subject: x\r\n\r\nx\r\n"));
    $gp->wait_log(qr/: $id{$name}: to=<\Q$_\E>.* status=deferred /, "mail for $_ waits") for @to;
}
my %tried = map { $_ => 1 } keys %id;
$tried{many} = 3;
my %sink;

sub attempts { my ($name) = @_; return scalar(() = $gp->log_lines(qr/: $id{$name}: to=<.*status=/)) }
sub goes {
    my ($how, @names) = @_;
    for my $name (@names) {
        $gp->wait_log(qr/: $id{$name}: to=<.* status=sent /, "$how: $name is delivered");
        delete $tried{$name};
    }
    return is_deeply({ map { $_ => attempts($_) } keys %tried }, \%tried, 'the other mail still waits');
}
sub etrn { my ($domain) = @_; return is($c->cmd("ETRN $domain")->{text}, '250 2.0.0 Queuing started', "ETRN $domain") }

$sink{st} = Gatepost::Sink->new(port => $port{st});
etrn('st.test');
goes('by the transport of its sender', 'st');
is($c->cmd('ETRN far.test')->{text}, '459 4.7.1 <far.test>: service unavailable', 'not a domain of ours');
$c->quit;

# Nothing but files is known.
ok(wait_until(10, sub { keys %tried == grep {-f} glob($gp->queue . '/deferred/*/*[0-9A-F]') }), 'all are files');
$gp->restart;
$sink{$_} = Gatepost::Sink->new(port => $port{$_}) for qw(one two vip sd);
$c = $gp->session;
etrn('ONE.test');
goes('behind a restart', 'one', 'vip');
etrn('two.test');
goes('the second', 'two');
etrn('sd.test');
goes('by the relay of its sender', 'sd');

$gp->set(transport_maps => transports(%routes, 'moved.test' => at('one')))->reload;
$c->quit;
$c = $gp->session;
etrn('moved.test');
goes('by another route', 'moved');

# To many domains: by each of them, as a whole; and by its next hop.
for ([qw(postqueue -s y2.test)], [qw(sendmail -qRy1.test)], [qw(postqueue -s), "[127.0.0.1]:$port{y}"]) {
    is(($gp->tool(@$_))[0], 0, "@$_");
    $tried{many} += 3;
    ok(wait_until(10, sub { attempts('many') == $tried{many} }), 'all of it is tried') or diag attempts('many');
    ok(wait_until(10, sub { ($gp->queue_list)[0] =~ /"deferred"/ }), 'it waits again');
}
$sink{y} = Gatepost::Sink->new(port => $port{y});
etrn('y3.test');
goes('of three domains', 'many');
ok(wait_until(10, sub { 3 == map { @{ $_->{rcpts} } } $sink{y}->messages }), 'to all of them');
$c->quit;
$gp->stop;
done_testing;

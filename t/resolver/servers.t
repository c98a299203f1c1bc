#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The resolver and its name servers: one that truncates, one that is silent, one that lies, and a
# resolv.conf that is replaced while the instance runs.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Socket qw(inet_aton);
use Test::More;

my $dir = tempdir('resolver');
my $conf = "$dir/resolv.conf";
my $sink = Gatepost::Sink->new(addr => '127.0.0.3', port => 25);
my @a = ([1, inet_aton('127.0.0.3')]);

# Truncated by UDP, whole by TCP; one name is answered by a liar first; AAAA are never there.
my $odd = Gatepost::Dns->nasty(addr => '127.0.0.54', resolv_conf => 0, answer => sub {
    my ($q) = @_;
    my $name = lc $q->{name};
    return if $name =~ /^silent\./;
    return Gatepost::Dns::reply($q, rcode => 2) if $name =~ /^broken\./;
    # The last two bytes of the header count what is behind the question: EDNS.
    return Gatepost::Dns::reply($q, rcode => 1) if $name =~ /^old\./ && unpack('x10 n', $q->{packet});
    return Gatepost::Dns::reply($q) if $q->{type} != 1;
    return Gatepost::Dns::reply($q, truncated => 1) if $name =~ /^cut\./ && $q->{proto} eq 'udp';
    my @lies = $name =~ /^lie\./ ? (
        Gatepost::Dns::reply($q, id => $q->{id} ^ 1, records => [[1, inet_aton('127.0.0.9')]]),
        Gatepost::Dns::reply({ %$q, name => 'other.test' }, records => [[1, inet_aton('127.0.0.9')]])) : ();
    return (@lies, Gatepost::Dns::reply($q, records => \@a));
});
my $second = Gatepost::Dns->nasty(addr => '127.0.0.55', resolv_conf => 0, answer => sub {
    my ($q) = @_;
    return Gatepost::Dns::reply($q, records => $q->{type} == 1 ? \@a : []);
});

spew($conf, "nameserver 127.0.0.54\nnameserver 127.0.0.55\noptions timeout:4 attempts:1\n");
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', resolver_config => $conf, inet_protocols => 'ipv4' });
$gp->start;

sub arrives {
    my ($domain, $what) = @_;
    is($gp->mail('', "x\@$domain", "Subject: $domain\r\n\r\n")->{code}, 250, "$domain: accepted");
    ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq "x\@$domain" } $sink->messages }), $what)
        or diag join "\n", $gp->log_lines(qr/\@\Q$domain\E/);
}

arrives('cut.test', 'a truncated reply is asked for by TCP');
ok(scalar(grep { $_ eq 'tcp cut.test 1' } $odd->queries), 'it was');
arrives('old.test', 'a server that knows no EDNS is asked without');
is(scalar(grep { $_ eq 'udp old.test 1' } $odd->queries), 2, 'it was');
arrives('lie.test', 'a reply with another id or question does not count');
arrives('broken.test', 'a server that fails: the next one is asked');
arrives('silent.test', 'a server that is silent: the next one is asked');
ok(scalar(grep { $_ eq 'udp silent.test 1' } $second->queries), 'it was');

spew($conf, "nameserver 127.0.0.55\noptions timeout:1\n");
ok($gp->find_log(qr/name servers: 127\.0\.0\.55$/), 'resolv.conf is replaced: the resolver takes it')
    or diag join "\n", $gp->log_lines(qr/resolver/);
my $before = $odd->queries;
arrives('new.test', 'by the new server');
is(scalar($odd->queries), $before, 'the old one is not asked any more');
ok($gp->drained, 'nothing is left');
$gp->stop;
done_testing;

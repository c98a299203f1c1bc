#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# TLS that comes late or breaks late: what is said in clear text while our own certificate is awaited;
# a session of another next hop that is lost in its second transaction.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Certs;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::TlsSink;
use Socket qw(inet_aton);
use Test::More;

my $certs = Gatepost::Certs->new;
my $cert = $certs->make('mx', names => ['mx.test']);
my $own = $certs->make('own', names => ['mx.example']);
my $inject = Gatepost::TlsSink->new(cert => $cert, starttls => 'begin');
my $first = Gatepost::TlsSink->new(cert => $cert, starttls => 'cut');
my $second = Gatepost::TlsSink->new(cert => $cert, starttls => 'drop', addr => '127.0.0.2', port => $first->port);
Gatepost::Dns->nasty(addr => '127.0.0.53', answer => sub {
    my ($q) = @_;
    return Gatepost::Dns::reply($q, records => [map { [1, inet_aton($_), undef, 0] } $q->{type} == 1 ? qw(127.0.0.1 127.0.0.2) : ()]);
});
Gatepost::Netns::resolv_conf(tempdir('conf'), "nameserver 127.0.0.53\noptions timeout:10 attempts:2\n");
my $port = $first->port;
my $gp = Gatepost::Instance->new(main => {
    notify_classes => '', smtp_tls_security_level => 'may', smtp_connection_cache_time_limit => '60s',
    smtp_tls_connection_reuse => 'yes', smtp_randomize_addresses => 'no', minimal_backoff_time => '12s', maximal_backoff_time => '12s',
    transport_maps => "inline:{{late.test=late:[127.0.0.1]:" . $inject->port . "}, {cut.test=smtp:two.odd:$port}, {fine.test=smtp:[two.odd]:$port}}",
}, master => [
    "late unix - - n - - smtp-client\n  -o smtp_tls_cert_file=$own->{cert} -o smtp_tls_key_file=$own->{key}",
]);
$gp->start;
my $c = $gp->session;
sub mail { my ($to) = @_; is($c->mail('', $to, "Subject: x\r\n\r\nx\r\n")->{code}, 250, "$to: taken") }
sub got { my ($s, $to) = @_; return join ' ', map { $_->{tls} ? 'TLS' : 'clear' } grep { $_->{rcpts}[0] eq $to } $s->messages }

# Whoever has the key says nothing to a new worker for a while.
my @vault = @{ $gp->roles->{vault} // [] };
kill 'STOP', @vault;
kill 'KILL', @{ $gp->roles->{'smtp-client'} // [] };
mail('u@late.test');
mail('cut@cut.test');
like($gp->find_log(qr/to=<cut\@cut\.test>/, 20) // '', qr/status=deferred/, 'lost inside of TLS: at first it waits');
mail('u@fine.test');
like($gp->find_log(qr/to=<u\@fine\.test>/, 20) // '', qr/status=sent/, 'a session to the same host is kept');
$gp->wait_log(qr/to=<cut\@cut\.test>, relay=two\.odd\[127\.0\.0\.1\]:$port, .*status=sent/, 'the same host once more');
is(got($first, 'cut@cut.test'), 'clear', 'in clear text, which level may allows');
is(got($second, 'cut@cut.test'), '', 'not the next host: TLS was not tried there');

like($gp->find_log(qr/to=<u\@late\.test>/, 30) // '', qr/status=sent/, 'our own certificate does not come');
is(got($inject, 'u@late.test'), 'TLS', 'TLS without it');
unlike(join('', $inject->sessions), qr/XCLIENT|SIZE=|AUTH/, 'what was said in clear text meanwhile counts not');
kill 'CONT', @vault;
$gp->stop;
done_testing;

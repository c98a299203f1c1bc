#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What smtp-client makes of the answers of name servers by its parameters: smtp_dns_reply_filter,
# smtp_cname_overrides_servername, smtp_dns_resolver_options, smtp_dns_support_level, with their LMTP
# twins, and dnssec_probe.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my %sink = map { $_ => Gatepost::Sink->new(addr => "127.0.0.$_", port => 25) } 3, 4;
my $lmtp = Gatepost::Sink->new(addr => '127.0.0.5', port => 24, protocol => 'lmtp');
my $dns = Gatepost::Dns->new(zones => { test => <<'END' });
three  A 127.0.0.3
four   A 127.0.0.4
dead   A 127.0.0.2
two    MX 10 three
two    MX 20 four
same   MX 10 both
both   A 127.0.0.3
both   A 127.0.0.4
alias  CNAME four
viacn  MX 10 alias
short  A 127.0.0.4
own    A 127.0.0.4
filed  A 127.0.0.2
own    MX 10 three
lm     A 127.0.0.2
lm     A 127.0.0.5
END
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver 127.0.0.53\nsearch sub.test test\noptions timeout:5 attempts:2 trust-ad\n");
my $dir = tempdir('settings');
my %filter = (
    mx => "/^two\\.test\\. [0-9]+ IN MX 10 three\\.test\\.\$/ IGNORE\n",
    a => "/^both\\.test\\. \\d+ IN A 127\\.0\\.0\\.3\$/ ignore\n",
    lm => "/^lm\\.test\\. [0-9]+ IN A 127\\.0\\.0\\.2\$/ IGNORE\n",
    alla => "/ IN A / IGNORE\n", allmx => "/ MX / IGNORE\n", bad => "/ MX 20 / KEEP\n",
);
spew("$dir/$_", $filter{$_}) for keys %filter;

# transport => [what is set, next hop, the sink or the log's text]
my $all = 'dsn=4.7.0, status=deferred (Error looking up name=%s type=%s: DNS reply filter drops all results)';
my $useless = 'dsn=4.4.3, status=deferred (Error looking up name=two.test type=MX: Invalid DNS reply filter syntax)';
my $dane = 'dsn=4.7.5, status=deferred (client TLS configuration problem: dane %s)';
my %case = (
    plain    => ['', 'two.test', 3],
    mx       => ["smtp_dns_reply_filter=regexp:$dir/mx", 'two.test', 4],
    mxlater  => ["smtp_dns_reply_filter=later:regexp:$dir/mx", 'two.test', 4],
    a        => ["smtp_dns_reply_filter=pcre:$dir/a", 'same.test', 4],
    alla     => ["smtp_dns_reply_filter=regexp:$dir/alla", 'two.test', sprintf $all, 'three.test', 'A'],
    allmx    => ["smtp_dns_reply_filter=regexp:$dir/allmx", 'two.test', sprintf $all, 'two.test', 'MX'],
    bad      => ["smtp_dns_reply_filter=regexp:$dir/bad", 'two.test', $useless],
    fails    => ['smtp_dns_reply_filter=fail:x', 'two.test', $useless],
    cname    => ['smtp_cname_overrides_servername=yes', 'viacn.test', 4],
    nocname  => ['', 'viacn.test', 4],
    defnames => ['smtp_dns_resolver_options=res_defnames', '[short]', 'name=short type=A: Host not found, try again)'],
    search   => ['smtp_dns_resolver_options=res_dnsrch', '[short]', 4],
    complete => ['', '[short]', 'dsn=4.4.3, status=deferred (Host or domain name not found. Name service error for name=short type=A: Host not found, try again)'],
    nodns    => ['smtp_dns_support_level=disabled', 'own.test', 4],
    olddns   => ['disable_dns_lookups=yes', 'own.test', 4],
    dns      => ['disable_dns_lookups=yes -o smtp_dns_support_level=enabled', 'own.test', 3],
    dane     => ['smtp_tls_security_level=dane', 'own.test', sprintf $dane, 'configured with dnssec lookups disabled'],
    daneign  => ['smtp_tls_security_level=dane -o smtp_dns_support_level=dnssec -o ignore_mx_lookup_error=yes', 'own.test',
        sprintf $dane, 'configured with MX lookup errors ignored'],
    danesec  => ['smtp_tls_security_level=dane -o smtp_dns_support_level=dnssec', 'own.test', 3],
    native   => ['smtp_host_lookup=native', '[filed.test]', 4],
    natlast  => ['smtp_host_lookup=dns,native', '[dead.test]', 'connect to dead.test[127.0.0.2]:25: Connection refused)'],
    natlast2 => ['smtp_host_lookup=dns,native', '[fileonly.test]', 4],
    natmx    => ['smtp_host_lookup=native', 'two.test', 3],
    nofile   => ['', '[fileonly.test]', 'name=fileonly.test type=A: Host not found)'],
    nodnsf   => ['disable_dns_lookups=yes', '[filed.test]', 4],
    danefile => ['smtp_host_lookup=native -o smtp_tls_security_level=dane -o smtp_dns_support_level=dnssec', 'own.test',
        sprintf $dane, 'configured with dnssec lookups disabled'],
    lm       => ["lmtp_dns_reply_filter=regexp:$dir/lm", 'lm.test', 5],
);
$sink{5} = $lmtp;
spew("$dir/hosts", "127.0.0.4 Filed.test fileonly.test dead.test\n");
my @names = sort keys %case;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '', notify_classes => '', minimal_backoff_time => '300s', maximal_backoff_time => '400s',
    smtp_randomize_addresses => 'no', resolver_hosts_file => "$dir/hosts", transport_maps => 'inline:{' . join(', ', map {"{$_.test=$_:$case{$_}[1]}"} @names) . '}',
}, master => [map { "$_ unix - - n - - smtp-client" . ($_ eq 'lm' ? ' -l' : '') . ($case{$_}[0] ? "\n  -o $case{$_}[0]" : '') } @names]);
$gp->start;
my $c = $gp->session;
for my $name (@names) {
    $c->mail('', "u\@$name.test", "Subject: $name\r\n\r\nx\r\n");
}
for my $name (@names) {
    my $want = $case{$name}[2];
    my $line = $gp->find_log(qr/: to=<u\@$name\.test>/, 20) // '';
    if ($want =~ /^\d$/) {
        like($line, qr/status=sent/, "$name: sent");
        is(join(' ', grep { my $s = $sink{$_}; grep { $_->{rcpts}[0] eq "u\@$name.test" } $s->messages } sort keys %sink), $want,
            "$name: to the right server");
    } else {
        like($line, qr/\Q$want\E/, "$name: what the log says");
    }
}
like($gp->find_log(qr/to=<u\@cname\.test>/), qr/relay=four\.test\[127\.0\.0\.4\]:25/, 'the name behind an alias');
like($gp->find_log(qr/to=<u\@nocname\.test>/), qr/relay=alias\.test\[127\.0\.0\.4\]:25/, 'or the alias');
is(scalar($gp->log_lines(qr/smtp\[\d+\]: ignoring DNS RR: two\.test\. \d+ IN MX 10 three\.test\.$/)), 3, 'what is filtered is told, once for each message');
ok($gp->find_log(qr/warning: smtp_dns_reply_filter: unknown DNS filter action: "KEEP"$/), 'a filter that says something else');
ok($gp->find_log(qr/warning: smtp_dns_reply_filter: lookup error for "two\.test\. \d+ IN MX 10 three\.test\."$/), 'a filter that fails');
# nsd does not validate, and there is no root to be asked for.
ok($gp->find_log(qr/warning: DNSSEC validation may be unavailable$/), 'DANE by such a name server is warned of');
ok($gp->find_log(qr/warning: reason: dnssec_probe 'ns:\.' received no response: Server failure$/), 'with the reason');
is(scalar($gp->log_lines(qr/DNSSEC validation may be/)), 1, 'once');
$gp->stop;
done_testing;

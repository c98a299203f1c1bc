#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# By which road mail leaves: MX, relays, fall-back relays, direct delivery, transports, and what is
# off. Each next hop is a sink of its own; the name server writes down what it is asked.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

my %address = (me => '127.0.0.1', dead => '127.0.0.2', one => '127.0.0.3', two => '127.0.0.4', relay => '127.0.0.5',
    back => '127.0.0.6');
my %mx = ('far.test' => [[10, 'dead.test'], [20, 'one.test']], 'near.test' => [[10, 'two.test']],
    'second.test' => [[10, 'dead.test'], [20, 'me.test']], 'best.test' => [[10, 'me.test'], [20, 'one.test']],
    'lost.test' => [[10, 'dead.test']], 'own.test' => [[10, 'two.test']]);
my $dns = Gatepost::Dns->nasty(answer => sub {
    my ($q) = @_;
    my $name = lc $q->{name};
    my @records;
    @records = map { [15, pack('n', $_->[0]) . Gatepost::Dns::name_bytes($_->[1])] } @{ $mx{$name} // [] }
        if $q->{type} == 15;
    my ($host) = $name =~ /^(\w+)\.test$/;
    @records = ([1, pack 'C4', split /\./, $address{$host}]) if $q->{type} == 1 && $host && $address{$host};
    my $known = $mx{$name} || ($host && $address{$host});
    return Gatepost::Dns::reply($q, records => \@records, rcode => $known ? 0 : 3);
});
Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:2\n");
my $welcome = sub { $_[0]{sink}->flag('auth', 1); return '235 2.7.0 ok' };
# The first host of pair.test offers AUTH as the second does, and takes nothing.
my $pair = sub { my ($s, $arg) = @_; return $s->{sink}{name} eq 'one.test' && $arg =~ /pair\.test/ ? '450 4.3.0 not here' : undef };
my %sink = map { $_ => Gatepost::Sink->new(addr => $address{$_}, port => 25, name => "$_.test", on => { auth => $welcome, rcpt => $pair },
    keywords => ['PIPELINING', '8BITMIME', 'SIZE', 'ENHANCEDSTATUSCODES', 'AUTH PLAIN']) }
    grep { !/^(?:dead|me)$/ } sort keys %address;

$sink{port} = Gatepost::Sink->new(addr => $address{one}, port => 2626, name => 'port.test');
$sink{clear} = Gatepost::Sink->new(addr => '127.0.0.7', port => 2626, name => 'clear.test');

my $box = tempdir('box');
my $gp = Gatepost::Instance->new(
    master => ['slow unix - - n - - smtp-client', "plain unix - - n - - smtp-client -o smtp_fallback_relay="],
    main => {
        smtp_sasl_auth_enable => 'yes', smtp_sasl_security_options => 'noanonymous',
        smtp_sasl_password_maps => 'inline:{{127.0.0.4=joe:secret}}',
        smtp_fallback_relay => '[127.0.0.6]', relay_sender => 'bounce@relay.test',
        maximal_backoff_time => '1000s', minimal_backoff_time => '1000s', smtp_randomize_addresses => 'no',
        default_destination_concurrency_failed_cohort_limit => 0,
        sender_dependent_relayhost_maps => 'inline:{{@relayed.test=[127.0.0.5]}}',
        sender_dependent_default_transport_maps => 'inline:{{s@slow.test=slow:[127.0.0.4]}}',
        direct_delivery_maps => 'inline:{{direct.test=[127.0.0.2]:25, [127.0.0.4]} {only.test=[127.0.0.2]} '
            . '{r@user.test=[127.0.0.3]} {.sub.test=[one.test]} '
            . '{port.test=[127.0.0.3]:2626} {tls.test=[127.0.0.7]:2626, [127.0.0.4]} {pair.test=[127.0.0.3], [127.0.0.4]}}',
        smtp_tls_policy_maps => 'inline:{{[127.0.0.7]:2626=encrypt} {[127.0.0.4]=none}}', smtp_tls_security_level => 'may',
        transport_maps => 'inline:{{several.test=smtp:[127.0.0.2], [127.0.0.3]} {named.test=smtp:[127.0.0.5]} '
            . '{bare.test=plain:[127.0.0.2]} {said.test=error:5.1.2 said no} {wait.test=retry:4.1.2 said later} '
            . '{gone.test=discard:silently}}',
        virtual_alias_maps => 'inline:{{e@al.test=r@said.test} {w@al.test=r@wait.test}}', virtual_alias_domains => 'al.test',
        mydestination => 'home.test', local_recipient_maps => '', virtual_mailbox_domains => 'box.test',
        virtual_mailbox_base => $box, virtual_mailbox_maps => 'inline:{{u@box.test=u/}}', virtual_uid_maps => 'static:65534',
        virtual_gid_maps => 'static:65534' });
chmod 0777, $box or die $!;
$gp->start;

my $letters = 0;
# Sends a letter and tells who got it: [names], and the sender there.
sub goes {
    my ($row, $from, $to, $where, $sender, $dsn) = @_;
    my $mark = 'letter' . ++$letters;
    my @before = $dns->queries;
    my $r = $gp->mail($from, $to, "Subject: $mark\r\n\r\nx\r\n");
    is($r->{code}, 250, "$row: $to is accepted") or return;
    my ($id) = $r->{text} =~ /queued as (\w+)/;
    ok($gp->find_log(qr/: $id: (?:to=<[^>]*>, orig_)?to=<\Q$to\E>.* status=/), "$row: and tried once") or return;
    my (@got, @from);
    my $look = sub {
        @got = @from = ();
        for my $name (sort keys %sink) {
            for my $m (grep { $_->{content} =~ /^Subject: $mark\r$/m } $sink{$name}->messages) {
                push @got, $name;
                push @from, $m->{from};
            }
        }
        return @got >= @$where;
    };
    wait_until(10, $look);
    is_deeply(\@got, $where, "$row: who gets it") or diag join "\n", $gp->log_lines(qr/: $id: /);
    is_deeply(\@from, [map { $sender // $from } @$where], "$row: from whom") if @$where;
    my ($line) = $gp->log_lines(qr/: $id: (?:to=<[^>]*>, orig_)?to=<\Q$to\E>/);
    like($line, $dsn, "$row: the log") if $dsn;
    my @asked = $dns->queries;
    return @asked[scalar @before .. $#asked];
}

# H1, H3: by MX, the second when the best is down; then the fall-back, which is a relay.
goes('H1', 'a@b.test', 'r@far.test', ['one'], undef, qr/relay=one\.test\[127\.0\.0\.3\]:25, .*status=sent/);
goes('H1', 'a@b.test', 'r@near.test', ['two']);
goes('H3', 'a@b.test', 'r@lost.test', ['back'], 'bounce@relay.test', qr/relay=127\.0\.0\.6\[127\.0\.0\.6\]:25, .*status=sent/);
goes('H3', '', 'r@lost.test', ['back'], '');
# An MX host of the domain gives its mail to no relay: that might bring it back.
goes('MX', 'a@b.test', 'r@second.test', [], undef, qr/relay=none, .*status=deferred \(connect to dead\.test/);
goes('MX', '', 'r@best.test', [], undef, qr/relay=none, .*dsn=5\.4\.6, status=bounced \(mail for best\.test loops back to myself\)/);
goes('MX', '', 'r@me.test', [], undef, qr/relay=none, .*dsn=5\.4\.6, status=bounced \(mail for me\.test loops back to myself\)/);

# H2, H6: a relay sees the other sender, the null sender stays; a host that a table names is no relay.
my @asked = goes('H2', 'a@relayed.test', 'r@far.test', ['relay'], 'bounce@relay.test');
is_deeply(\@asked, [], 'H2: no name is asked for');
goes('H6', 'a@b.test', 'r@named.test', ['relay']);
goes('H6', 'a@relayed.test', 'r@named.test', ['relay']);

ok(!$sink{$_}->is_set('auth'), "H8: no credentials for $_, no AUTH") for sort keys %sink;

# H7: in order, the first that is up; neither DNS nor the fall-back is asked.
@asked = goes('H7', 'a@relayed.test', 'r@direct.test', ['two']);
is_deeply(\@asked, [], 'H7: no name is asked for');
goes('H7', 'a@b.test', 'r@user.test', ['one']);
@asked = goes('H7', 'a@b.test', 'r@x.sub.test', ['one']);
is_deeply([grep { !/ one\.test (?:1|28)$/ } @asked], [], 'H7: of a host in brackets its address, no MX');
goes('H7', 'a@b.test', 'r@port.test', ['port'], undef, qr/relay=127\.0\.0\.3\[127\.0\.0\.3\]:2626, .*status=sent/);
# A host of its own level of TLS, which it does not offer: the next one.
goes('H7', 'a@b.test', 'r@tls.test', ['two'], undef, qr/relay=127\.0\.0\.4\[127\.0\.0\.4\]:25, .*status=sent/);
# H8: credentials for a host of an entry are for it alone, in one and the same delivery.
goes('H8', 'a@b.test', 'r@pair.test', ['two'], undef, qr/relay=127\.0\.0\.4\[127\.0\.0\.4\]:25, .*status=sent/);
like($sink{one}->log, qr/C: RCPT TO:<r\@pair\.test>/, 'H8: the first host of the two was asked');
ok($sink{two}->is_set('auth'), 'H8: the host with credentials sees AUTH');
ok(!$sink{$_}->is_set('auth'), "H8: $_ does not") for grep { $_ ne 'two' } sort keys %sink;
# H9, off: it stays, and no relay gets it.
goes('H9', 'a@b.test', 'r@only.test', [], undef, qr/relay=none, .*dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.2\[127\.0\.0\.2\]:25: Connection refused\)/);
is(scalar(grep { /r\@only\.test/ } $gp->queue_list), 1, 'H9: it waits');

# Several next hops of transport_maps; a transport without fall-back; those that need no program.
goes('transport', 'a@b.test', 'r@several.test', ['one'], undef, qr/status=sent/);
goes('transport', 'a@b.test', 'r@bare.test', [], undef, qr/dsn=4\.4\.1, status=deferred/);
goes('transport', 's@slow.test', 'r@far.test', ['two'], undef, qr/status=sent/);
goes('error', '', 'e@al.test', [], undef, qr/gatepost\/error\[\d+\]: .*relay=none, .*dsn=5\.1\.2, status=bounced \(said no\)/);
goes('retry', '', 'w@al.test', [], undef, qr/gatepost\/error\[\d+\]: .*relay=none, .*dsn=4\.1\.2, status=deferred \(said later\)/);
goes('discard', '', 'r@gone.test', [], undef, qr/gatepost\/discard\[\d+\]: .*relay=none, .*dsn=2\.0\.0, status=sent \(silently\)/);

# H9, on: when no host of the entry is up, by the rules: the relay, which sees its sender, or MX.
$gp->tool('gateq', 'delete', 'ALL');
$gp->set(direct_delivery_fallback => 'yes');
$gp->reload;
goes('H9', 'a@relayed.test', 'r@only.test', ['relay'], 'bounce@relay.test');
$mx{'only.test'} = [];
$gp->set(direct_delivery_maps => 'inline:{{own.test=[127.0.0.2]}}');
$gp->reload;
goes('H9', 'a@b.test', 'r@own.test', ['two'], undef, qr/relay=two\.test\[127\.0\.0\.4\]:25/);

# H10, H11: with the outgoing service off mail for here is delivered, other mail waits; then it goes.
$gp->set(defer_transports => 'smtp');
$gp->reload;
goes('H11', 'a@b.test', 'r@far.test', [], undef, qr/relay=none, .*dsn=4\.3\.2, status=deferred \(deferred transport\)/);
goes('H10', 'a@b.test', 'u@box.test', [], undef, qr/gatepost\/virtual\[\d+\]: .*status=sent \(delivered to maildir\)/);
is(scalar(() = glob "$box/u/new/*"), 1, 'H10: it is there');
$gp->set(defer_transports => '');
$gp->reload;
is(($gp->tool('gateq', 'flush'))[0], 0, 'H11: on again');
ok(wait_until(20, sub { grep { $_->{content} =~ /^Subject: letter(\d+)\r$/m && $1 == $letters - 1 } $sink{one}->messages }),
    'H11: it goes') or diag join "\n", $gp->log_lines(qr/far\.test/);

# The same with the service stopped: no log line says anything, since nobody tries.
is(($gp->tool('gatepost', 'service', 'smtp/unix', 'stop'))[0], 0, 'the service is stopped');
my $r = $gp->mail('a@b.test', 'r@near.test', "Subject: stopped\r\n\r\nx\r\n");
is($r->{code}, 250, 'accepted');
goes('H10', 'a@b.test', 'u@box.test', [], undef, qr/status=sent \(delivered to maildir\)/);
is(($gp->tool('gatepost', 'service', 'smtp/unix', 'start'))[0], 0, 'and started');
ok(wait_until(20, sub { grep { $_->{content} =~ /^Subject: stopped\r$/m } $sink{two}->messages }), 'delivered');

# K4: without the queue manager mail is accepted and kept.
is(($gp->tool('gatepost', 'service', 'qmgr', 'stop'))[0], 0, 'K4: qmgr is stopped');
is(($gp->tool('gatepost', 'service', 'qmgr', 'status'))[0], 3, 'K4: its status');
$r = $gp->mail('a@b.test', 'r@near.test', "Subject: kept\r\n\r\nx\r\n");
is($r->{code}, 250, 'K4: 250');
is(scalar(grep { $_->{content} =~ /^Subject: kept/m } $sink{two}->messages), 0, 'K4: queued');
is(($gp->tool('gatepost', 'service', 'qmgr', 'start'))[0], 0, 'K4: started');
ok(wait_until(20, sub { grep { $_->{content} =~ /^Subject: kept\r$/m } $sink{two}->messages }), 'K4: delivered');

# A reload in between: what waits is routed afresh, by a table and by a relay.
$mx{'later.test'} = [[10, 'dead.test']];
$gp->set(smtp_fallback_relay => '');
$gp->reload;
goes('afresh', 'a@b.test', 'r@lost.test', [], undef, qr/status=deferred \(connect to dead\.test/);
$gp->set(relayhost => '[127.0.0.5]');
$gp->reload;
$gp->tool('gateq', 'flush');
ok(wait_until(20, sub { grep { $_->{content} =~ /^Subject: letter$letters\r$/m && $_->{from} eq 'bounce@relay.test' }
    $sink{relay}->messages }), 'afresh: to the relay, with its sender') or diag join "\n", $gp->log_lines(qr/lost\.test/);

# H2: relayhost, for whoever sends: nobody else is asked, neither a host nor a name. H10: not for mail
# for here. H7: nor for a domain with hosts of its own.
@asked = goes('H2', 'a@b.test', 'r@far.test', ['relay'], 'bounce@relay.test', qr/relay=127\.0\.0\.5\[127\.0\.0\.5\]:25, .*status=sent/);
is_deeply(\@asked, [], 'H2: no name is asked for');
goes('H10', 'a@b.test', 'u@box.test', [], undef, qr/gatepost\/virtual\[\d+\]: .*status=sent \(delivered to maildir\)/);
$gp->set(direct_delivery_maps => 'inline:{{own.test=[127.0.0.3]}}')->reload;
goes('H7', 'a@b.test', 'r@own.test', ['one'], undef, qr/status=sent/);

# A relay of the settings that the DNS does not know is a mistake in them: mail waits, as with Postfix.
my $typo = qr/relay=none, .*dsn=4\.3\.5, status=deferred \(Host or domain name not found\. Name service error for name=typo\.test type=/;
$gp->set(relayhost => 'typo.test', sender_dependent_relayhost_maps => 'inline:{{@relayed.test=typo.test:25}}');
$gp->reload;
goes('typo', 'a@b.test', 'r@far.test', [], undef, $typo);
$gp->wait_log(qr/smtp\[\d+\]: warning: relayhost configuration problem$/, 'typo: whose mistake');
goes('typo', 'a@relayed.test', 'r@far.test', [], undef, $typo);
$gp->wait_log(qr/smtp\[\d+\]: warning: sender_dependent_relayhost_maps configuration problem$/, 'typo: or whose');
$gp->set(relayhost => '', smtp_fallback_relay => 'typo.test');
$gp->reload;
goes('typo', 'a@b.test', 'r@lost.test', [], undef, $typo);
$gp->wait_log(qr/smtp\[\d+\]: warning: smtp_fallback_relay configuration problem$/, 'typo: or whose else');
goes('no such', '', 'r@unknown.test', [], undef, $typo);
$gp->set(smtp_fallback_relay => '');
$gp->reload;
goes('no such', '', 'r@unknown.test', [], undef, qr/dsn=5\.4\.4, status=bounced \(Host or domain name not found\./);

# As in Postfix's log what became of a message stands before its end, whichever process says so.
my (%told, @early);
my @last = map { Gatepost::Smtp->id_of($gp->mail('a@b.test', 'r@near.test', "Subject: order\r\n\r\nx\r\n")) } 1 .. 30;
for my $id (@last) { $gp->find_log(qr/: $id: removed/) or push @early, "$id: not removed" }
for ($gp->log_lines(qr/: \w+: (?:to=.* status=|removed)/)) {
    $told{$1} = 1 if /: (\w+): to=/;
    push @early, $_ if /qmgr\[\d+\]: (\w+): removed/ && !$told{$1};
}
is_deeply(\@early, [], 'the log is in order');
$gp->stop;
done_testing;

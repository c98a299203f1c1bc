#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# local_header_rewrite_clients: each listener says whose headers are completed, and cleanup does it.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Stage;
use Test::More;

# Whose: every word of the list, and tables that answer at once, later, or not at all.
my $COMPLETE = 0x4000;
my @rows = (
    # value, client, is it?
    ['permit_inet_interfaces', '127.0.0.1', 1], ['permit_inet_interfaces', '127.0.0.2', 0],
    ['permit_mynetworks', '127.0.0.9', 1], ['permit_mynetworks', '127.0.0.1', 0],
    ['', '127.0.0.1', 0], ['permit_sasl_authenticated, permit_tls_clientcerts, permit_tls_all_clientcerts', '127.0.0.1', 0],
    ['static:all', '127.0.0.2', 1], ['permit_mynetworks, check_address_map inline:{127.0.0.3=x}', '127.0.0.3', 1],
    ['permit_mynetworks, check_address_map inline:{127.0.0.3=x}', '127.0.0.4', 0],
    ['later:inline:{127.0.0.3=REJECT}', '127.0.0.3', 1], ['later:inline:{127.0.0.3=REJECT}', '127.0.0.4', 0],
    ['later:cidr:{{127.0.0.0/29 x}}', '127.0.0.3', 1], ['permit_mynetworks later:fail:x', '127.0.0.9', 1],
    ['permit_mynetworks fail:x', '127.0.0.3', undef], ['later:fail:x', '127.0.0.3', undef],
);
my %rows;
push @{ $rows{ $_->[0] } }, $_ for @rows;
for my $value (sort keys %rows) {
    my $st = Gatepost::Stage->new(main => { local_header_rewrite_clients => $value });
    for my $row (@{ $rows{$value} }) {
        my ($name, $from, $want) = @$row;
        my $c = $st->session(from => $from);
        my $mail = $c->cmd('MAIL FROM:<a@far.test>')->{text};
        if (!defined $want) {
            is($mail, '451 4.3.0 Temporary lookup error', "$name: $from: cannot be said");
            is($c->cmd('RCPT TO:<root@local.test>')->{code}, 503, 'and nothing is begun');
            $st->wait_log(qr/warning: local_header_rewrite_clients: lookup error for unknown\[\Q$from\E\]$/m);
        } else {
            $c->cmd('RCPT TO:<root@local.test>', 250);
            $c->cmd('DATA', 354);
            $c->send("x: y\r\n\r\n.\r\n");
            my $m = $st->letter(Gatepost::Smtp::id_of($c->reply));
            is(($m->{flags} // 0) & $COMPLETE, $want * $COMPLETE, "$name: $from");
        }
        $c->quit;
    }
    $st->order('stop');
    $st->end;
}
# Two ports of one instance.
my $sink = Gatepost::Sink->new;
my ($plain, $ours) = (free_port(), free_port());
my $gp = Gatepost::Instance->new(
    main => { relayhost => '[127.0.0.1]:' . $sink->port, mynetworks => '127.0.0.0/8', myorigin => 'origin.test',
        local_header_rewrite_clients => '', mydestination => 'nowhere.test' },
    master => ["$plain inet n - n - - smtpd", "$ours inet n - n - - smtpd -o local_header_rewrite_clients=permit_mynetworks"],
);
$gp->start;
for my $port ($plain, $ours) {
    my $c = $gp->client(port => $port);
    $c->hello;
    is($c->mail('a@far.test', ['b@far.test'], "From: joe\r\nSubject: x\r\n\r\nx\r\n")->{code}, 250, 'taken');
    $c->quit;
}
ok(wait_until(20, sub { $sink->messages == 2 }), 'both are relayed');
my ($whole) = grep {/^Message-Id:/m} map { $_->{content} } $sink->messages;
my ($as_it_was) = grep { !/^Message-Id:/m } map { $_->{content} } $sink->messages;
like($whole // '', qr/^From: joe\@origin\.test\r?$/m, 'one port completes headers');
like($as_it_was // '', qr/^From: joe\r?$/m, 'the other does not');
$gp->stop;
done_testing;

#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# No open relay: every trick that an address can hold, for each class of its domain, at three kinds of
# port, from five kinds of client. A sink shows what leaves: nothing may that the client is not
# allowed to send, and what he is allowed to send does. No table of recipients is in the way.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

my $sink = Gatepost::Sink->new;
my $passwords = tempdir('matrix');
spew("$passwords/pw", 'joe ' . crypt_record('secret') . "\n");
run_ok('password table', build() . '/sbin/gatemap', "hash:$passwords/pw");

my %port = map { $_ => free_port() } qw(open submission inside);
my $gp = Gatepost::Instance->new(
    main => {
        relayhost => '[127.0.0.1]:' . $sink->port, mynetworks => '127.0.2.0/24', mydestination => 'local.test, $myhostname',
        virtual_alias_domains => 'alias.test', virtual_alias_maps => 'inline:{{@alias.test = @local.test}}',
        virtual_mailbox_domains => 'box.test', virtual_mailbox_maps => 'static:x', relay_domains => 'relay.test',
        relay_recipient_maps => '', local_recipient_maps => '', local_transport => 'discard:', virtual_transport => 'discard:',
        recipient_delimiter => '+', smtpd_safe_clients => '127.0.3.1', direct_delivery_maps => 'inline:{{there.test = [127.0.4.1]:25}}',
        smtpd_sasl_type => 'table', smtpd_sasl_password_maps => "hash:$passwords/pw", smtpd_recipient_restrictions => '',
        smtpd_relay_restrictions => 'permit_mynetworks, permit_sasl_authenticated, permit_direct_delivery_hosts, reject_unauth_destination',
        smtpd_error_sleep_time => 0, smtpd_soft_error_limit => 10000, smtpd_hard_error_limit => 10000, smtpd_junk_command_limit => 10000,
        minimal_backoff_time => '1h', maximal_backoff_time => '1h',
    },
    master => [
        "$port{open} inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes",
        "$port{submission} inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes"
            . ' -o { smtpd_client_restrictions = permit_sasl_authenticated, reject } -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }',
        "$port{inside} inet n - n - - smtpd -o { smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination }"
            . ' -o { smtpd_recipient_restrictions = permit_mynetworks, reject }',
        'vault unix - - n - - vault',
    ]);
$gp->start or die 'no instance';

my %client = (outside => '127.0.1.1', mynetworks => '127.0.2.1', authenticated => '127.0.1.2', safe => '127.0.3.1', direct => '127.0.4.1');
my %class = (local => 'local.test', alias => 'alias.test', mailbox => 'box.test', relay => 'relay.test', default => 'far.test', literal => '[127.0.0.1]');
# D: the domain of the class; F: a domain that is nobody's here.
my @tricks = ('x@D', 'x%F@D', 'x%F%F@D', 'F!x@D', 'F!F!x@D', '"x@F"@D', '"x%F"@D', '"F!x"@D', 'x@F@D', 'x\@F@D', '@D:x@F', '@D,@relay.test:x@F',
    '@F:x@D', '@F,@D:x%F@D', 'x@D.', 'x%F.@D', 'X@uc(D)', 'x%uc(F)@D', '"x"@D', '""@D', '@D', '"\"x@F\""@D', '"\x\@F"@D', "\xc3\xbc\@D", "x\@\xc3\xbc.D",
    'x%F', 'F!x', 'x@F%D', 'x%D@F', 'D!x@F', 'F!x%D', 'x%F!D', 'x@D@F', 'x+F@D', 'x+y%F@D', 'x%F+y@D', '"x@F" @D', '<x@F>@D', 'x@F,x@D', 'x@D,x@F', 'x@[F]@D', 'x@[10.0.0.1]',
    'x@[IPv6:2001:db8::1]', 'x%[10.0.0.1]@D', '"x@[10.0.0.1]"@D', 'x@D:25', 'x@F#D', 'x(@F)@D', '(x)x@D', 'x @D', 'x%F @D', '"x@F@D"@D', '"x"%F@D', 'x%"F"@D', 'x%%F@D', 'x%@D', '%F@D', '!x@D', 'F!@D', 'x=F@D', 'x#F@D',
    'x@sub.D', 'x@F.D', 'x@D.F', 'xD@F', 'postmaster%F', 'postmaster@F', 'postmaster', 'x@.D', 'x@D..', 'x@[D]', 'x@#2130706433', 'x/F@D', '|cat@D', '/tmp/x@D', ':include:/x@D', '"x\r\n@F"@D',
    ['x@D', 'ORCPT=rfc822;x@F'], ['x@D', 'ORCPT=rfc822;x%F@D NOTIFY=NEVER'], ['x@D', 'NOTIFY=SUCCESS ORCPT=utf-8;x@F']);

sub may_relay {
    my ($port, $client) = @_;
    return 1 if $client eq 'safe';
    return $client eq 'authenticated' if $port eq 'submission';
    return $client eq 'mynetworks' if $port eq 'inside';
    return $client ne 'outside';
}

# May he send anything at all there? The postmaster may be written to by everybody (RFC 5321, 4.5.1).
sub may_enter {
    my ($port, $client, $address) = @_;
    return $port eq 'open' || $address eq 'postmaster' || may_relay($port, $client);
}

# Relayed for everybody, with all sub-domains: parent_domain_matches_subdomains.
my $relayed = qr/^(?:[^%!@"]+|"[^%!@]*")\@(?:[^@]+\.)?relay\.test$/i;

sub utf8_wanted { $_[0] =~ /[\x80-\xff]/ ? ' SMTPUTF8' : '' }

my (%cell, $n, $accepted, @wrong);
$n = $accepted = 0;
for my $port (sort keys %port) {
    for my $client (sort keys %client) {
        my $c = Gatepost::Smtp->new(port => $port{$port}, from => $client{$client}) or die 'no connection';
        $c->hello;
        is(plain($c, 'joe', 'secret')->{code}, 235, "$port: login") if $client eq 'authenticated' && $port ne 'inside';
        for my $class (sort keys %class) {
            for my $trick (@tricks) {
                my ($address, $options) = ref $trick ? @$trick : ($trick, '');
                for ($address, $options) {
                    s/uc\(D\)/\U$class{$class}/g;
                    s/uc\(F\)/FAR.TEST/g;
                    s/(?<![A-Z])D(?![A-Z])/$class{$class}/g;
                    s/(?<![A-Z])F(?![A-Z])/far.test/g;
                }
                my $name = "$port, $client: <$address>" . ($options ? " $options" : '');
                $n++;
                my $r = $c->cmd('MAIL FROM:<s@far.test>' . utf8_wanted($address));
                next if $r->{code} != 250 && push @wrong, "$name: MAIL: $r->{text}";
                $r = $c->cmd("RCPT TO:<$address>" . ($options ? " $options" : ''));
                push @wrong, "$name: $r->{text}" if $r->{code} == 0 || $r->{code} == 451;
                push @wrong, "$name: entered" if $r->{code} == 250 && !may_enter($port, $client, $address);
                push @wrong, "$name is refused: $r->{text}"
                    if $r->{code} != 250 && $trick eq 'x@D' && ($class eq 'default' ? may_relay($port, $client) : may_enter($port, $client, $address));
                if ($r->{code} == 250) {
                    $cell{ ++$accepted } = { name => $name, port => $port, client => $client, class => $class, trick => $trick };
                    $c->cmd('DATA');
                    $r = $c->cmd("Subject: $accepted\r\n\r\nx\r\n.");
                    $cell{$accepted}{done} = $r->{code} == 250;
                    push @wrong, "$name: $r->{text}" if $r->{code} == 0;
                } else {
                    $c->cmd('RSET');
                }
            }
        }
        $c->quit;
    }
}
cmp_ok($n, '>', 5000, "$n cells, $accepted of them accepted");
my $taken = grep { $_->{done} } values %cell;
ok(wait_until(30, sub { $taken <= (() = slurp($gp->{log}) =~ m{/qmgr\[\d+\]: \w+: removed$}mg) }) && $gp->drained(30),
    'nothing is left in the queue')
    or diag tail($gp->{log}, 5);

# What has left.
for my $m ($sink->messages) {
    # Who asks for it is told of success, wherever he is.
    next if $m->{from} eq '' && $m->{content} =~ /^Content-Type: multipart\/report/m;
    my ($nr) = $m->{content} =~ /^Subject: (\d+)/m or next;
    my $cell = $cell{$nr};
    for my $rcpt (@{ $m->{rcpts} }) {
        $cell->{left} = 1;
        push @wrong, "$cell->{name} left for $rcpt"
            if !may_relay($cell->{port}, $cell->{client}) && $rcpt !~ $relayed;
    }
}
for my $cell (sort { $a->{name} cmp $b->{name} } values %cell) {
    my $leaves = $cell->{class} eq 'relay' || $cell->{class} eq 'default';
    push @wrong, "$cell->{name} has " . ($leaves ? 'not ' : '') . 'left' if $cell->{trick} eq 'x@D' && !$cell->{left} != !$leaves;
}
is(join('', map {"$_\n"} @wrong), '', 'nobody relays who may not, and all others do');
$gp->stop;
done_testing;

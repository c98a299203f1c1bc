# SPDX-License-Identifier: ISC
# What Debian's Postfix answers is what Gatepost answers: some hundred configurations of smtpd's
# restrictions, each on a port of its own in one instance of either, the same sessions with both
# (Gatepost::PolicyCases), and every reply compared: code, enhanced code, text. So are the lines
# about refusals that both log. Where they differ stands in %differs, with the reason.
#
#   use Gatepost::Netns;
#   compare(0, 0.5);      # tests: from and to which part of the cases; with arguments of the test,
#   done_testing;         # those configurations alone whose names match the first one
package Gatepost::PolicyCompare;
use strict;
use warnings;
use Exporter 'import';
use Gatepost::Dns;
use Gatepost::Dovecot;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Netns ();
use Gatepost::Peers;
use Gatepost::Policy;
use Gatepost::PolicyCases;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Test::More;

our @EXPORT = qw(compare);

# configuration => [what Gatepost says, what Postfix says, reason]
my %differs = (
    'other: routed' => [qr/^RCPT .*: 550 5\.1\.1 .*User unknown/m, qr/^RCPT .*: 250 /m,
        'no destination is taken out of the local part of an address of our own: RFC 5321, F.2 calls it unwanted, and it is what relay abuse lives on'],
    'other: empty local part' => [qr/^MAIL: 501 5\.1\.7 /m, qr/^MAIL: 250 /m, 'in tables it would be the key of a whole domain'],
    'other: strict and no domain' => [qr/^MAIL: 501 5\.1\.7 /m, qr/^MAIL: 250 /m, 'strict_rfc821_envelopes is the grammar of RFC 5321, and that wants a domain'],
    'other: warned of a table that fails' => [qr/^RCPT .*: 451 4\.3\.5 /m, qr/^RCPT .*: 250 /m, 'a table that fails never lets anything pass, whatever stands before it'],
    'other: a host of /etc/hosts alone' => [qr/^RCPT .*: 250 /m, qr/^RCPT .*: 554 5\.7\.1 /m, 'restrictions ask the DNS, not the files of this machine'],
    'other: a dot behind a host name' => [qr/^RCPT .*: 250 /m, qr/^RCPT .*: 554 5\.7\.1 /m, 'such a name is not looked up: neither does Postfix for MX, name servers and reject_unknown_helo_hostname'],
    'other: name servers without a domain' => [qr/^RCPT .*: 250 /m, qr/^RCPT .*: 554 5\.7\.1 /m, 'an address without a domain has no name servers; Postfix asks for those of the domain above "x%far.test"'],
    'other: xclient, an address alone' => [qr/^RCPT .*<client\.good\.test\[127\.0\.1\.1\]>/m, qr/^RCPT .*<unknown\[127\.0\.1\.1\]>/m, 'its name is looked up: who speaks for it may not know it, and without a name it would be judged as one that has none'],
    'other: relay_domains fails behind an alias' => [qr/^end: 451 4\.3\.0 /m, qr/^end: 250 /m, 'routes are resolved before a message is taken, not after'],
);

my $above = 3000; # Gatepost's ports

sub services {
    my ($above, @those) = @_;
    return map {
        my $c = $_;
        join ' ', '127.0.0.1:' . ($c->{port} + $above) . ' inet n - n - 2 smtpd', "-o syslog_name=postfix/c$c->{port}",
            map {"-o { $_ = $c->{set}{$_} }"} sort keys %{ $c->{set} };
    } @those;
}

sub shown {
    my ($what, $r) = @_;
    my $text = $r->{code} ? $r->{text} : $r->{text} eq 'closed' ? 'closed' : 'no answer';
    $text =~ s/\n.*//s if $what =~ /^EHLO/;
    $text =~ s/^250-/250 / if $what =~ /^EHLO/;
    # Postfix's own replies to ETRN are without, in spite of what EHLO says.
    $text =~ s/^(\d+) \d\.\d+\.\d+ /$1 / if $what =~ /^ETRN/i;
    # 250 for what is known to be here, where Postfix has one code for all (RFC 5321, 3.5.3).
    $text =~ s/^250 /252 / if $what =~ /^VRFY/;
    $text =~ s/queued as \S+/queued as ID/;
    return "$what: $text\n";
}

# Everything that the server says in the session of a case.
sub session {
    my ($port, $case) = @_;
    my $c = Gatepost::Smtp->new(port => $port, from => $case->{addr}, timeout => 60) or return "no connection\n";
    my $all = shown('connect', $c->reply);
    my $say = sub {
        my ($what, $line) = @_;
        return { code => 0 } if $all =~ /: closed$/m;
        my $r = $c->cmd($line);
        $all .= shown($what, $r);
        return $r;
    };
    $say->($case->{verb}, "$case->{verb} $case->{helo}") if $case->{verb};
    $say->('AUTH', 'AUTH PLAIN ' . b64("\0$case->{login}\0secret")) if $case->{login};
    if ($case->{commands}) {
        $say->(length $_ > 80 ? substr($_, 0, 80) : $_, $_) for @{ $case->{commands} };
    } else {
        message($say, $case);
    }
    $say->('QUIT', 'QUIT');
    $c->at_eof;
    $c->close;
    return $all;
}

sub message {
    my ($say, $case) = @_;
    $say->('MAIL', "MAIL FROM:<$case->{sender}>");
    $say->("RCPT <$_>", "RCPT TO:<$_>") for @{ $case->{rcpts} };
    my $r = $say->('DATA', 'DATA');
    $say->('end', "Subject: x\r\n\r\nx\r\n.") if $r->{code} == 354;
}

# What both log about refusals and what is to be done, in order, of one port.
sub decisions {
    my ($log, $c) = @_;
    my @lines = map { /postfix\/c$c->{port}\/smtpd\[\d+\]: \S+: ((?:reject|reject_warning|hold|discard|filter|redirect|info|warn|permit): .*)/ ? $1 : () }
        split /\n/, $log;
    # Who is logged in stands in these lines since Postfix 3.10; the one of the test is older.
    s/ sasl_method=\S+ sasl_username=\S+$// for @lines;
    # A line that waits for a queue id may come behind those of the next session: in order for each sender.
    my $n = 0;
    my @keyed = map { [/ from (\S+): .*; from=(<.*?>) / ? "$1 $2" : '', $n++, $_] } @lines;
    return join '', map {"$_->[2]\n"} sort { $a->[0] cmp $b->[0] || $a->[1] <=> $b->[1] } @keyed;
}

# The configurations whose cases begin in this part of all.
sub part_of {
    my ($from, $to, @configurations) = @_;
    my ($all, $n) = (0, 0);
    $all += @{ $_->{cases} } for @configurations;
    return grep {
        my $at = $n / $all;
        $n += @{ $_->{cases} };
        $at >= $from && $at < $to
    } @configurations;
}

sub compare {
    my ($from, $to) = @_;
    my $dns = Gatepost::Dns->new(zones => { zones() }, ttl => 600);
    # None of its servers is silent: it may be slow.
    Gatepost::Netns::resolv_conf($dns->{dir}, "nameserver $dns->{addr}\noptions timeout:5 attempts:3\n");
    my $root = Gatepost::Peers::root_of('postfix');
    system('mount', '--bind', '/etc/resolv.conf', "$root/etc/resolv.conf") == 0 or die 'mount';

    my $dovecot = Gatepost::Dovecot->new(users => { map { $_ => 'secret' } qw(joe ann) });
    my $policy = Gatepost::Policy->new(answer => sub {
        my ($r) = @_;
        my ($who) = $r->{sender} =~ /^(.*)\@policy\.test$/;
        return 'action=' . (defined $who && policy_answers()->{$who} || 'DUNNO') . "\n\n";
    });

    my @configurations = @{ configurations(sasl => $dovecot->socket, policy => $policy->spec) };
    @configurations = @ARGV ? grep { $_->{name} =~ /$ARGV[0]/ } @configurations : part_of($from, $to, @configurations);
    my $port = 3000;

    # What is one for all ports of an instance makes a group of configurations.
    my (%groups, @groups);
    for my $c (@configurations) {
        my $key = join '; ', map {"$_ = $c->{main}{$_}"} sort keys %{ $c->{main} };
        push @groups, $groups{$key} = [] if !$groups{$key};
        push @{ $groups{$key} }, $c;
        $c->{port} = ++$port;
    }

    my $count = 0;
    for my $group (@groups) {
        my %main = (base(), %{ $group->[0]{main} });
        my $pf = Gatepost::Peers->postfix(main => \%main, services => [services(0, @$group), 'discard unix - - n - - discard', 'verify unix - - n - 1 verify', 'flush unix n - n 1000? 0 flush']);
        my $gp = Gatepost::Instance->new(main => { %main, syslog_name => 'postfix' }, master => [services($above, @$group)]);
        $gp->start or die 'there is nothing to compare with';
        my $sessions = 0;
        for my $c (@$group) {
            for my $case (@{ $c->{cases} }) {
                my ($theirs, $ours) = map { session($c->{port} + $_, $case) } 0, $above;
                $sessions++;
                if (my $differs = $differs{ $c->{name} }) {
                    like($ours, $differs->[0], "$c->{name}: $case->{name}: Gatepost");
                    like($theirs, $differs->[1], "$c->{name}: $case->{name}: Postfix");
                } else {
                    is($ours, $theirs, "$c->{name}: $case->{name}");
                }
            }
        }
        my @logs = map {
            my $log = $_;
            # Whose start was waited for has had more clients than these.
            wait_until(
                30,
                sub {
                    my $text = slurp($log);
                    my $gone = () = $text =~ /: disconnect from /g;
                    return $gone >= $sessions && $gone >= (() = $text =~ /smtpd\[\d+\]: connect from /g);
                }
            ) or diag("$log: sessions do not end");
            slurp($log);
        } $pf->{log}, $gp->{log};
        for my $c (@$group) {
            next if $differs{ $c->{name} };
            my ($theirs, $ours) = map { decisions($_, $c) } @logs;
            is($ours, $theirs, "$c->{name}: the log");
        }
        $count += $sessions;
        $gp->stop;
        # Its smtpd processes would wait for clients to come; nothing of it is kept.
        kill 'KILL', Gatepost::Kit::descendants($pf->{pid});
        $pf->stop;
    }
    @ARGV or cmp_ok($count, '>=', 400, 'enough cases');
    return;
}

1;
